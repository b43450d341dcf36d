/**
 * What stands in for a kernel in a static site of features (`store.to_site`): it sorts and filters the table, and brings
 * the page of a feature from its file. In: the requests that the views send. Out: answers and traits, as from Python.
 * What needs a store or a model is refused with words. Files are scripts that call `ngPages`, so that the site works from
 * a folder (file://), where nothing can be fetched.
 */
import type { Packed } from "../core/codec.js";
import { indexOf } from "../core/feature-id.js";
import type { Model } from "../core/model.js";
import { PROTOCOL } from "../core/protocol.js";
import type { Query, Said, WireRows } from "../views/browser/synced.js";
import type { WirePage } from "../views/dashboard/synced.js";

/** The table of features, a list for each column. */
export interface SiteTable {
  features: number[];
  numbers: Record<string, (number | null)[]>;
  lists: Record<string, (number | null)[][]>; // promoted_by, …
  ids: Record<string, number[]>; // top_token
  idLists: Record<string, number[][]>; // promoted, …
  pieces: Record<string, string>;
  tokens: [id: number, share: number, on: number][][]; // where each is on most
  said: Record<string, Said>;
  chunk: number; // pages in a file
}

interface Chunk {
  pages: Omit<WirePage, "view" | "id" | "pieces" | "kinds">[];
  pieces: string[];
  kinds: number[];
}

interface Message {
  view: string;
  id: number;
  kind: string;
  [key: string]: unknown;
}

type AnyModel = Model<Record<string, unknown>> & { heard?: Map<string, Set<(message: unknown, buffers: unknown[]) => void>> };
export type Kernel = (model: AnyModel, message: Message) => void;

const FIRST = 500; // rows that come with a result
const SAVED = "This is a saved site.";
const READ_ONLY: Record<string, string> = {
  text: "Searching the examples needs a notebook: ng.open_store(…).",
  prompt: "Searching by a prompt needs a notebook with the model.",
};

const floats = (values: readonly (number | null)[], shape = [values.length]): Packed => ({ dtype: "f32", shape, data: Float32Array.from(values, (value) => value ?? NaN) });
const ints = (values: readonly number[], shape = [values.length]): Packed => ({ dtype: "i32", shape, data: Int32Array.from(values) });

const text = (value: string | undefined): string | null => (value === undefined || value === "" ? null : value);

/** The rows of the table that fit a query, as places in it, in order; what the query says of each. */
export function find(table: SiteTable, query: Query, sort: string, descending: boolean, subset: readonly number[]): { rows: number[]; sort: string; extra: Record<string, number[]> } {
  for (const name of ["text", "prompt"] as const) if (query[name]) throw new Error(READ_ONLY[name]);
  const only = new Set(subset);
  const number = (name: string, row: number): number => table.numbers[name]?.[row] ?? NaN;
  const extra: Record<string, Map<number, number>> = {};
  const idsOf = (piece: string | number): Set<number> => new Set(Object.entries(table.pieces).filter(([id, text]) => text === piece || Number(id) === piece).map(([id]) => Number(id)));
  const conditions: ((row: number) => boolean)[] = [];
  if (only.size) conditions.push((row) => only.has(table.features[row] ?? -1));
  const said = (row: number): Said | undefined => table.said[String(table.features[row])];
  if (query.explanation) {
    const words = query.explanation.toLowerCase().split(/\s+/);
    conditions.push((row) => words.every((word) => said(row)?.explanation?.toLowerCase().includes(word)));
  }
  if (query.token !== undefined && query.token !== "") {
    const wanted = idsOf(query.token);
    const [share, on] = [(extra.share = new Map<number, number>()), (extra.on = new Map<number, number>())];
    conditions.push((row) => {
      const found = table.tokens[row]?.find(([id]) => wanted.has(id));
      if (found) {
        share.set(row, found[1]);
        on.set(row, found[2]);
      }
      return found !== undefined;
    });
  }
  if (query.logit !== undefined && query.logit !== "") {
    const wanted = idsOf(query.logit);
    const logit = (extra.logit = new Map<number, number>());
    conditions.push((row) => {
      for (const name of ["promoted", "suppressed"]) {
        const k = table.idLists[name]?.[row]?.findIndex((id) => wanted.has(id)) ?? -1;
        if (k >= 0) logit.set(row, table.lists[`${name}_by`]?.[row]?.[k] ?? NaN);
      }
      return logit.has(row);
    });
  }
  if (query.density) {
    const [low, high] = query.density;
    conditions.push((row) => number("density", row) >= low && number("density", row) <= high);
  }
  const flags: Record<string, (row: number) => boolean> = {
    dead: (row) => number("count", row) === 0 && number("not_finite", row) === 0,
    ultralow: (row) => number("density", row) < 1e-6,
    "not finite": (row) => number("not_finite", row) > 0,
  };
  for (const name of query.flags ?? []) conditions.push(flags[name] ?? (() => false));
  for (const name of query.without ?? []) conditions.push((row) => !flags[name]?.(row));
  if (query.list) conditions.push((row) => said(row)?.lists.includes(query.list ?? "") ?? false);
  if (query.rating) {
    const [low, high] = query.rating;
    conditions.push((row) => (said(row)?.rating ?? -1) >= low && (said(row)?.rating ?? -1) <= high);
  }
  const rows = table.features.map((_, row) => row).filter((row) => conditions.every((fits) => fits(row)));
  const by = sort || ("logit" in extra ? "logit" : "share" in extra ? "share" : "density");
  const key = (row: number): number | string | null => {
    if (by === "feature") return table.features[row] ?? null;
    if (by === "explanation" || by === "note") return text(said(row)?.[by]?.toLowerCase());
    if (by === "score" || by === "rating") return said(row)?.[by] ?? null;
    if (by === "lists") return text(said(row)?.lists.join(", "));
    if (by === "top_token") return table.pieces[String(table.ids.top_token?.[row])] ?? null;
    if (by === "promoted" || by === "suppressed") return table.lists[`${by}_by`]?.[row]?.[0] ?? null;
    if (by === "flags") return Object.values(flags).reduce((sum, has, k) => sum + (has(row) ? 2 ** k : 0), 0);
    return extra[by]?.get(row) ?? table.numbers[by]?.[row] ?? null;
  };
  const keys = new Map(rows.map((row) => [row, key(row)]));
  const sign = descending ? -1 : 1;
  rows.sort((a, b) => {
    const [x, y] = [keys.get(a) ?? null, keys.get(b) ?? null];
    if (x === null || y === null) return x === y ? a - b : x === null ? 1 : -1; // without a value: last
    return x < y ? -sign : x > y ? sign : a - b;
  });
  return { rows, sort: by, extra: Object.fromEntries(Object.entries(extra).map(([name, values]) => [name, rows.map((row) => values.get(row) ?? NaN)])) };
}

/** Rows of a result on the wire. */
export function windowOf(table: SiteTable, found: ReturnType<typeof find>, from: number, to: number): WireRows {
  const rows = found.rows.slice(from, to);
  const numbers: Record<string, Packed> = {};
  const tokens: Record<string, Packed> = {};
  for (const [name, values] of Object.entries(table.numbers)) numbers[name] = floats(rows.map((row) => values[row] ?? null));
  for (const [name, values] of Object.entries(found.extra)) numbers[name] = floats(values.slice(from, to));
  for (const [name, values] of Object.entries(table.lists)) numbers[name] = floats(rows.flatMap((row) => values[row] ?? []), [rows.length, values[0]?.length ?? 0]);
  for (const [name, values] of Object.entries(table.ids)) tokens[name] = ints(rows.map((row) => values[row] ?? -1));
  for (const [name, values] of Object.entries(table.idLists)) tokens[name] = ints(rows.flatMap((row) => values[row] ?? []), [rows.length, values[0]?.length ?? 0]);
  const features = rows.map((row) => table.features[row] ?? -1);
  const said = Object.fromEntries(features.flatMap((feature) => (table.said[String(feature)] ? [[String(feature), table.said[String(feature)]]] : []))) as Record<string, Said>;
  return { from, features: ints(features), numbers, tokens, pieces: table.pieces, said };
}

/** The kernel of a site. `load` puts a script into the page. */
export function createKernel(table: SiteTable, load: (file: string, failed: () => void) => void): Kernel {
  const chunks = new Map<number, Promise<Chunk>>();
  const waiting = new Map<number, (chunk: Chunk) => void>();
  (globalThis as { ngPages?: unknown }).ngPages = (k: number, chunk: Chunk): void => waiting.get(k)?.(chunk);
  const chunkOf = (k: number): Promise<Chunk> => {
    let chunk = chunks.get(k);
    if (!chunk) {
      chunk = new Promise((resolve, reject) => {
        waiting.set(k, resolve);
        load(`pages/${k}.js`, () => {
          chunks.delete(k);
          reject(new Error(`The file pages/${k}.js of this site is missing.`));
        });
      });
      chunks.set(k, chunk);
    }
    return chunk;
  };
  const place = new Map(table.features.map((feature, row) => [feature, row]));
  let found = find(table, {}, "", true, []);
  let result = 0;

  const tell = (model: AnyModel, message: Message, body: object): void => {
    const reply = { v: PROTOCOL, view: message.view, id: message.id, seq: 1, done: true, ...body };
    setTimeout(() => {
      for (const call of model.heard?.get("msg:custom") ?? []) call(reply, []);
    });
  };
  const set = (model: AnyModel, traits: Record<string, unknown>): void => {
    for (const [name, value] of Object.entries(traits)) model.set(name, value);
  };

  const search = (model: AnyModel, message: Message): void => {
    const of = (name: string): unknown => message[name] ?? model.get(name);
    const wish = { query: of("query") as Query, sort: of("sort") as string, descending: of("descending") as boolean, subset: of("subset") as number[] };
    found = find(table, wish.query, wish.sort, wish.descending, wish.subset);
    const frame = { view: message.view, id: message.id, result: ++result, total: found.rows.length, sort: found.sort, descending: wish.descending, extra: Object.keys(found.extra), rows: windowOf(table, found, 0, FIRST), empty: found.rows.length ? null : "No feature of this site fits.", notice: "", prompt: null };
    set(model, { ...wish, frame });
  };
  const open = async (model: AnyModel, message: Message): Promise<void> => {
    const feature = Number(message.feature);
    const row = place.get(feature);
    if (row === undefined) throw new Error(`This site has no page of feature ${feature}.`);
    const { pages, pieces, kinds } = await chunkOf(Math.floor(row / table.chunk));
    const page = pages[row % table.chunk];
    if (!page) throw new Error(`The page of feature ${feature} is missing.`);
    set(model, { said: page.said, feature: page.name, frame: { ...page, pieces, kinds, view: message.view, id: message.id } });
    history.replaceState(null, "", `#feature-${feature}`);
  };

  return (model, message) => {
    const refuse = (error: unknown): void => {
      tell(model, message, { error: { type: "Saved", message: error instanceof Error ? error.message : String(error), hint: "" } });
    };
    const browser = model.get("columns") !== undefined;
    try {
      if (message.kind === "hello") {
        tell(model, message, { version: model.get("_version") });
        if (browser) result = (model.get("frame") as { result: number }).result; // that of its first rows
        const wanted = /^#feature-(\d+)$/.exec(location.hash)?.[1];
        if (!browser && wanted && Number(wanted) !== indexOf(String(model.get("feature")), String(model.get("base")))) {
          void open(model, { ...message, view: "", id: 0, feature: Number(wanted) }).catch(refuse);
        }
      } else if (message.kind === "run" && browser) {
        search(model, message);
        tell(model, message, {});
      } else if (message.kind === "run") {
        open(model, message).then(() => tell(model, message, {}), refuse);
      } else if (message.kind === "rows") {
        tell(model, message, { result, ...windowOf(table, found, Number(message.from), Number(message.to)) });
      } else if (message.kind === "place") {
        const row = found.rows.indexOf(place.get(Number(message.feature)) ?? -1);
        tell(model, message, { row: row < 0 ? null : row });
      } else if (message.kind === "choose") {
        const more = found.rows.slice(Number(message.from), Number(message.to)).map((row) => table.features[row] ?? -1);
        set(model, { chosen: [...new Set([...(model.get("chosen") as number[]), ...more])] });
        tell(model, message, {});
      } else if (message.kind === "indices") {
        tell(model, message, { features: ints(found.rows.map((row) => table.features[row] ?? -1)) });
      } else if (message.kind !== "cancel") {
        refuse(`${SAVED} Open the store in a notebook to write or to ask the model.`);
      }
    } catch (thrown) {
      refuse(thrown);
    }
  };
}

/** The kernel over the table in this document. */
export function kernel(): Kernel {
  const table = JSON.parse(document.getElementById("ng-site")?.textContent ?? "{}") as SiteTable;
  return createKernel(table, (file, failed) => {
    const script = document.createElement("script");
    script.src = file;
    script.onerror = failed;
    document.head.append(script);
  });
}
