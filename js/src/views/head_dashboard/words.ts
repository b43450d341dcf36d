/** What a head's page says in words and tables: its numbers, its pairs, how far they reach. In: what Python sent. Out: elements. */
import { h } from "../../core/dom.js";
import { type Fact, facts } from "../../core/facts.js";
import { compact, count, quoted } from "../../core/format.js";
import type { WireHead, WirePair, WireSummary } from "./synced.js";

const share = (value: number | null): string => (value === null ? "–" : `${(100 * value).toFixed(value >= 0.0995 || value === 0 ? 0 : 1)}%`);
const number = (value: number | null): string => (value === null ? "–" : compact(value));

const tokens = (found: readonly (readonly [string, number])[]): Node =>
  h("span", { class: "ng-hd-named" }, ...found.map(([piece, n]) => h("span", {}, h("bdi", { class: "ng-piece" }, quoted(piece)), h("span", { class: "ng-quiet" }, ` ${n}`))));

export function numbers(summary: WireSummary, measured: number): Node[] {
  const s = summary;
  const left: Fact[] = [
    ["largest", `${number(s.max)} ‖A·v·W_O‖`, "of all (query, key) pairs of the corpus: size of what the key's token writes at the query's"],
    ["mean of all pairs", `${number(s.mean)}${s.mean_error === null ? "" : ` ± ${number(s.mean_error)}`}`, `estimated from ${count(s.random, "pair")} drawn at random among those with key ≤ query; ± two standard errors`],
    ["tokens measured", measured.toLocaleString("en-US"), "tokens of the corpus, without those that the masks leave out"],
  ];
  const right: Fact[] = [
    ["reads back", s.distance === null ? "–" : `${number(s.distance)} ${s.distance === 1 ? "token" : "tokens"}`, `query − key, median over the ${s.top} strongest pairs (one of each window)`],
    ["itself", share(s.itself), "of the strongest pairs: key = query"],
    ["the token before", share(s.previous), "of the strongest pairs: key = query − 1"],
    ["the first token", share(s.first), "of the strongest pairs: the key is the first token of its window"],
  ];
  const named: Fact[] = [
    ["keys", tokens(s.keys), "commonest key tokens of the strongest pairs, and how often"],
    ["queries", tokens(s.queries), "commonest query tokens of the strongest pairs, and how often"],
  ];
  return [facts(left), facts(right), facts(named)];
}

/** How far pairs reach: shares of the strongest and of random ones, by distance. */
export function reachTable({ reach, top, random }: WireSummary): HTMLElement {
  const total = { top: reach.top.reduce((a, b) => a + b, 0) || 1, random: reach.random.reduce((a, b) => a + b, 0) || 1 };
  const most = Math.max(...reach.top.map((n) => n / total.top), ...reach.random.map((n) => n / total.random), 1e-9);
  const cell = (n: number, of: number, name: string): Node[] => {
    const bar = h("span", { class: `ng-bar ng-reach-${name}`, "aria-hidden": "true" });
    bar.style.width = `${Math.max(1, (100 * n) / of / most).toFixed(1)}%`;
    return [h("td", { class: "ng-track" }, n ? bar : null), h("td", { class: "ng-percent", title: `${n} of ${of}` }, n ? share(n / of) : "")];
  };
  return h(
    "table",
    { class: "ng-top ng-reach" },
    h("caption", {}, "query − key, in tokens"),
    h("tr", {}, h("th", { scope: "col" }, "back"), h("th", { scope: "col", colspan: 2 }, `top (${top})`), h("th", { scope: "col", colspan: 2 }, `random (${random})`)),
    ...reach.labels.map((label, k) =>
      h("tr", {}, h("th", { scope: "row" }, label), ...cell(reach.top[k] ?? 0, total.top, "top"), ...cell(reach.random[k] ?? 0, total.random, "random")),
    ),
  );
}

const KINDS = ["", " ng-raw", " ng-special"];

/** A pair in its text: key and query are marked by colour, line and letter. */
export function pairLine(pair: WirePair): HTMLElement {
  const words: Node[] = [];
  pair.pieces.forEach((piece, i) => {
    if (pair.gap && i === pair.cut) words.push(h("span", { class: "ng-quiet ng-pair-gap" }, ` … ${count(pair.gap, "token")} … `));
    const kind = KINDS[pair.kinds[i] ?? 0] ?? "";
    const [key, query] = [i === pair.key, i === pair.query];
    const shown = piece === "" ? "∅" : piece.replace(/\n/g, "⏎").replace(/\t/g, "⇥");
    if (!key && !query) {
      words.push(kind ? h("span", { class: kind.trim() }, shown) : document.createTextNode(shown));
      return;
    }
    const name = key && query ? "both" : key ? "key" : "query";
    const what = key && query ? "key and query" : name;
    words.push(h("mark", { class: `ng-pair-${name}${kind}`, title: what }, shown.trim() === "" ? shown.replace(/ /g, "·") : shown, h("sup", { "aria-hidden": "true" }, key && query ? "kq" : name.charAt(0)), h("span", { class: "ng-offscreen" }, ` (${what})`)));
  });
  return h(
    "li",
    { class: "ng-pair" },
    h("span", { class: "ng-pair-value", title: "‖A·v·W_O‖: what the key's token writes at the query's" }, compact(pair.value)),
    h("span", { class: "ng-pair-text", dir: "auto" }, ...words),
    h("span", { class: "ng-quiet ng-pair-far", title: `query − key; document ${pair.document}` }, pair.distance ? `${pair.distance} back` : "itself"),
  );
}

/** "head 2 of layer 0". */
export const nameOf = ([layer, head]: readonly [number, number]): string => `head ${head} of layer ${layer}`;

export const gridNote = (frame: WireHead, layer: number, head: number): string => {
  const found = frame.heads.find(([l, k]) => l === layer && k === head);
  return found ? `${nameOf([layer, head])}: largest ${found[2] === null ? "–" : compact(found[2])}` : `${nameOf([layer, head])}: not harvested`;
};
