/**
 * Lists of what is known: name and value pairs, and the likeliest tokens as a small table with bars. In: words and
 * numbers. Out: elements. Token text only ever enters as text nodes.
 */
import { h } from "./dom.js";
import { compact, percent, quoted } from "./format.js";

export const ENTROPY = "−Σ p·ln p over the next token's distribution, after this token";

/** A name, its value, and what the name means. */
export type Fact = readonly [name: string, value: string | Node, title?: string];

export const facts = (pairs: readonly Fact[]): HTMLElement =>
  h(
    "dl",
    { class: "ng-facts" },
    ...pairs.flatMap(([name, value, title]) => [h("dt", { title: title ?? null }, name), h("dd", {}, value)]),
  );

export interface Likely {
  id: number;
  piece: string;
  logprob: number;
}

/** Tokens with their probabilities; the one with the id `marked` stands out, `mark` says why, `title` in full. */
export function ranking(caption: string, lines: readonly Likely[], marked: number | undefined, mark: string, title: string): HTMLElement {
  return h(
    "table",
    { class: "ng-top" },
    h("caption", {}, caption),
    ...lines.map(({ id, piece, logprob }) => {
      const bar = h("span", { class: "ng-bar", "aria-hidden": "true" });
      bar.style.width = `${Math.max(1, 100 * Math.exp(logprob)).toFixed(1)}%`;
      const here = id === marked;
      return h(
        "tr",
        { class: here ? "ng-actual" : null },
        h("td", { class: "ng-piece", dir: "auto" }, quoted(piece)),
        h("td", { class: "ng-mark", title: here ? title : null }, here ? mark : ""),
        h("td", { class: "ng-track" }, bar),
        h("td", { class: "ng-percent", title: `${compact(logprob)} nats` }, percent(logprob)),
      );
    }),
  );
}
