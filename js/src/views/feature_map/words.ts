/** What the map says of a point: in its note, in the panel, to a screen reader. In: a picture, a point. Out: words. Pure. */
import { h } from "../../core/dom.js";
import { type Fact, facts } from "../../core/facts.js";
import { compact, quoted } from "../../core/format.js";
import { type Category, type Column, type Picture, nameOf, valueAt } from "./picture.js";

/** A value with its unit. */
export function written(column: Column, value: number): string {
  if (Number.isNaN(value)) return compact(value);
  if (column.unit.startsWith("of ")) return `${compact(100 * value)}% ${column.unit}`;
  return `${compact(value)}${column.unit ? ` ${column.unit}` : ""}`;
}

export const titleOf = (picture: Picture, i: number): string => {
  const { store, index } = nameOf(picture, i);
  return `${store}/${index}`;
};

const piece = (picture: Picture, at: number | undefined): string | null =>
  at === undefined || at < 0 ? null : quoted(picture.wire.pieces[at] ?? "");

export function promotedOf(picture: Picture, i: number): string[] {
  const { k, promoted } = picture;
  return Array.from({ length: k }, (_, j) => piece(picture, promoted[i * k + j])).filter((p) => p !== null);
}

function pairs(picture: Picture, i: number, by: Column | Category | null): Fact[] {
  const top = piece(picture, picture.top[i]);
  const promoted = promotedOf(picture, i).join(" ");
  const density = picture.columns.find(({ key }) => key === "density");
  const said: Fact[] = [];
  if (by && "codes" in by) said.push([by.key, by.names[by.codes[i] ?? 0] ?? ""]);
  else if (by && by !== density) said.push([by.key.replaceAll("_", " "), written(by, valueAt(by, i)), by.title]);
  if (density) said.push(["density", written(density, valueAt(density, i)), density.title]);
  said.push(["commonest token", top ? h("bdi", {}, top) : "none: it was never on", "the token that it is on at most often"]);
  if (promoted) said.push(["raises", h("bdi", {}, promoted), "tokens whose logits it raises most, along the direct path"]);
  return said;
}

/** The note beside a point. */
export function noteOf(picture: Picture, i: number, by: Column | Category | null): Node[] {
  const said = picture.wire.explanations[i];
  return [
    h("div", { class: "ng-tip-label" }, titleOf(picture, i)),
    ...(said ? [h("div", { class: "ng-map-said", dir: "auto" }, said)] : []),
    facts(pairs(picture, i, by)),
  ];
}

/** The same as one sentence. */
export function spoken(picture: Picture, i: number, by: Column | Category | null): string {
  const said = picture.wire.explanations[i];
  const rest = pairs(picture, i, by).map(([name, value]) => `${name} ${typeof value === "string" ? value : value.textContent}`);
  return [titleOf(picture, i), ...(said ? [said] : []), ...rest].join(", ");
}
