/**
 * The legend of a row: the colour scale between its two ends as numbers, and in words how many tokens are missing,
 * masked or beyond the scale. In: a row of a picture. Out: an element's children.
 */
import { h } from "./dom.js";
import { compact } from "./format.js";
import type { Row } from "./picture.js";

const NOTES = [
  ["masked", "tokens that do not count for the colour scale: beginning of sequence, special tokens, massive activations"],
  ["clipped", "tokens beyond the colour scale: drawn in its last colour, with a mark in the corner"],
  ["missing", "tokens without a value (NaN): hatched"],
] as const;

/** What a legend is made of: a row, or what is coloured like one. */
export type Scaled = Pick<Row, "domain" | "signed" | "masked" | "missing" | "clipped"> & { values: { length: number } };

export function legendOf(row: Scaled): Node[] {
  const [lo, hi] = row.domain;
  const nodes: Node[] = [];
  if (hi > lo) {
    nodes.push(
      h("span", { class: "ng-end", title: String(lo) }, compact(lo)),
      h("span", { class: row.signed ? "ng-ramp ng-ramp-signed" : "ng-ramp", "aria-hidden": "true" }),
      h("span", { class: "ng-end", title: String(hi) }, compact(hi)),
    );
  } else if (row.values.length) {
    const nothing = row.missing === row.values.length;
    nodes.push(h("span", { class: "ng-end" }, nothing ? "no values" : "0 everywhere"));
  }
  for (const [what, title] of NOTES) {
    if (row[what]) nodes.push(h("span", { class: `ng-tally ng-tally-${what}`, title }, `${row[what]} ${what}`));
  }
  return nodes;
}
