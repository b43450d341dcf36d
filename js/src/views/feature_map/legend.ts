/**
 * What the colours mean: a ramp between its ends with the unit, and in words how many points are hollow; or the names of a
 * category, each a button that selects its features. In: a column or category. Out: an element's children.
 */
import type { Theme } from "../../core/colour.js";
import { button, h } from "../../core/dom.js";
import { hueCss, rampCss } from "./colours.js";
import type { Category, Column, Picture } from "./picture.js";
import { written } from "./words.js";

const tally = (n: number, what: string, title: string): Node =>
  h("span", { class: "ng-map-tally", title }, h("span", { class: "ng-map-ring", "aria-hidden": "true" }), `${n.toLocaleString("en-US")} ${what}`);

export function legendOf(picture: Picture, by: Column | Category, theme: Theme, choose: (code: number) => void): Node[] {
  if ("codes" in by) {
    return by.names.flatMap((name, code) => {
      const n = by.counts[code] ?? 0;
      if (n === 0) return [];
      const none = code === by.none;
      const swatch = h("span", { class: none ? "ng-map-swatch ng-map-ring" : "ng-map-swatch", "aria-hidden": "true" });
      if (!none) swatch.style.background = hueCss(theme, code);
      const made = button("", { class: "ng-chip", title: `${by.titles[code] ? `${by.titles[code]}; ` : ""}select these` }, () => choose(code));
      made.append(swatch, `${name} `, h("span", {}, n.toLocaleString("en-US")));
      return [made];
    });
  }
  const { lo, hi, log } = by;
  const nodes: Node[] = [];
  if (by.missing + by.zeros < picture.n) {
    const end = (value: number): string => written(by, log ? 10 ** value : value);
    if (hi > lo) {
      const ramp = h("span", { class: "ng-ramp", "aria-hidden": "true" });
      ramp.style.background = rampCss(theme, by.signed);
      nodes.push(h("span", { class: "ng-end" }, end(lo)), ramp, h("span", { class: "ng-end" }, end(hi)));
      if (log) nodes.push(h("span", { class: "ng-quiet" }, "log"));
    } else nodes.push(h("span", { class: "ng-end" }, `${end(lo)} everywhere`));
  }
  if (by.zeros) nodes.push(tally(by.zeros, by.key === "density" || by.key === "count" ? "never on" : "zero", "drawn hollow: zero has no place on a logarithmic scale"));
  if (by.missing) nodes.push(tally(by.missing, "without a value", "drawn hollow"));
  return nodes;
}
