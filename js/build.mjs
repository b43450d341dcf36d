// Bundles every view (src/views/<name>/index.ts) into one ES module and one stylesheet that the Python half
// reads: ../widgets/neuroglass/static/<name>.js and <name>.css. The version comes from ../pyproject.toml, its one
// source. Every widget instance carries its module text, so a bundle over the budget fails the build.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const BUDGET = 60_000; // bytes, minified
const here = dirname(fileURLToPath(import.meta.url));
const views = join(here, "src", "views");
const pyproject = readFileSync(join(here, "..", "pyproject.toml"), "utf8");
const version = /^version\s*=\s*"([^"]+)"/m.exec(pyproject)?.[1];
if (!version) throw new Error('no `version = "…"` in ../pyproject.toml');

const names = readdirSync(views).filter((name) => existsSync(join(views, name, "index.ts")));
const options = {
  outdir: join(here, "..", "widgets", "neuroglass", "static"),
  define: { __NG_VERSION__: JSON.stringify(version) },
  bundle: true,
  format: "esm",
  target: "es2022",
  minify: true,
  charset: "utf8",
  legalComments: "none",
  metafile: true,
  logLevel: "warning",
};
const result = await build({ ...options, entryPoints: names.map((name) => ({ in: join(views, name, "index.ts"), out: name })) });
// what a static site has in place of a kernel: a script, since modules can't be read from a folder
await build({ ...options, format: "iife", globalName: "ngSite", entryPoints: [{ in: join(here, "src", "site", "kernel.ts"), out: "site" }] });

for (const [file, { bytes }] of Object.entries(result.metafile.outputs)) {
  console.log(`${file}  ${(bytes / 1000).toFixed(1)} kB`);
  if (file.endsWith(".js") && bytes > BUDGET) {
    console.error(`${file} is over the budget of ${BUDGET / 1000} kB`);
    process.exitCode = 1;
  }
}
