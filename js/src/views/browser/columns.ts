/**
 * How the cells of each kind of column look and sound. In: what the kernel says of its columns, and what was said of
 * features. Out: columns of the table. A number has its bar before it; what was never measured is hatched and called
 * that, never 0.
 */
import { h } from "../../core/dom.js";
import { compact, quoted, visible } from "../../core/format.js";
import type { TableColumn } from "../../core/table.js";
import type { Row } from "./rows.js";
import type { Choices, Said, WireColumn } from "./synced.js";

const WIDTH: Record<WireColumn["kind"], number> = { index: 92, number: 84, share: 92, token: 112, tokens: 200, flags: 92, rating: 72, text: 96 };
const GROW: Record<string, number> = { explanation: 3, promoted: 2, suppressed: 2, note: 1, lists: 1 };
const COUNTS = new Set(["count", "not_finite", "examples"]);
const WIDE: Record<string, number> = { explanation: 190, score: 66, density: 116, max: 100, of_max: 104, value: 96, share: 112, on: 104, single_token_share: 112, note: 140 };

/** Three digits, also where the last ones are zeros: "21.0", so that a column reads as one. */
export function digits(value: number): string {
  const size = Math.abs(value);
  if (Number.isInteger(value) || size < 1e-3 || size >= 1e3 || !Number.isFinite(value)) return compact(value);
  return value.toPrecision(3).replace("-", "\u2212");
}

/** A share as a percentage, "0.026%"; a very small one as a number, "2.35e−6". */
export const share = (value: number): string => (value > 0 && value < 1e-5 ? compact(value) : `${value === 1 ? "100" : digits(100 * value)}%`);

/** Nothing is known of this feature: it was seen only as NaN or infinite. */
export const unknown = (row: Row): boolean => row.number("not_finite") > 0 && Number.isNaN(row.number("count"));

const none = (): HTMLElement => h("span", { class: "ng-nothing" }, "–");

/** A bar at the start of its column, so that bars can be compared. */
function gauge(part: number): HTMLElement {
  const bar = h("i");
  bar.style.width = `${(100 * Math.max(0, Math.min(1, part))).toFixed(1)}%`;
  return h("span", { class: "ng-gauge", "aria-hidden": "true" }, bar);
}

export const flagsOf = (row: Row): string[] => [
  ...(row.number("not_finite") > 0 ? ["not finite"] : []),
  ...(row.number("count") === 0 ? ["dead"] : row.number("density") < 1e-6 ? ["ultralow"] : []),
];

export function columnsOf(choices: Choices, shown: readonly string[], said: (row: Row) => Said | null): TableColumn<Row>[] {
  const bars: Record<string, (value: number) => number> = {
    // one token of all is the least that can be seen
    density: (value) => (value > 0 ? 1 + Math.log10(value) / Math.log10(Math.max(2, choices.tokens)) : 0),
    max: (value) => value / (choices.largest || 1),
    of_max: (value) => value,
    single_token_share: (value) => value,
    share: (value) => value,
    on: (value) => value,
  };

  const write = (column: WireColumn, value: number): string => (column.kind === "share" ? share(value) : COUNTS.has(column.name) ? value.toLocaleString("en-US") : digits(value));

  const number = (column: WireColumn): Pick<TableColumn<Row>, "draw" | "say"> => {
    const of = (row: Row): number => (column.name === "score" ? (said(row)?.score ?? NaN) : row.number(column.name));
    const bar = bars[column.name];
    return {
      draw: (row) => {
        const value = of(row);
        if (Number.isNaN(value)) return unknown(row) && column.name !== "score" ? [h("span", { class: "ng-unknown" }, "NaN")] : [none()];
        return [...(bar ? [gauge(bar(value))] : []), h("span", {}, write(column, value))];
      },
      say: (row) => {
        const value = of(row);
        if (!Number.isNaN(value)) return `${column.label} ${write(column, value)}`;
        return unknown(row) && column.name !== "score" ? `${column.label}: not known, it was seen only as NaN or infinite` : `${column.label}: none`;
      },
    };
  };

  const text = (column: WireColumn): Pick<TableColumn<Row>, "draw" | "say"> => {
    const of = (row: Row): string => {
      const known = said(row);
      if (column.name === "lists") return known?.lists.join(", ") ?? "";
      return (column.name === "note" ? known?.note : known?.explanation) ?? "";
    };
    return {
      draw: (row) => [of(row) ? h("span", { class: "ng-cut", dir: "auto" }, of(row)) : none()],
      say: (row) => of(row) || `${column.label}: none`,
    };
  };

  const kinds: Record<WireColumn["kind"], (column: WireColumn) => Pick<TableColumn<Row>, "draw" | "say">> = {
    number,
    share: number,
    text,
    index: () => ({
      draw: ({ feature }) => [h("span", { class: "ng-tick", "aria-hidden": "true" }), h("span", { class: "ng-index" }, String(feature))],
      say: ({ feature }) => `feature ${feature}`,
    }),
    token: ({ name, label }) => ({
      draw: (row) => {
        const piece = row.token(name);
        return [piece === null ? none() : h("span", { class: "ng-piece ng-cut", dir: "auto" }, quoted(piece))];
      },
      say: (row) => {
        const piece = row.token(name);
        return piece === null ? `${label}: none` : `${label} ${quoted(piece)}`;
      },
    }),
    tokens: ({ name, label }) => ({
      draw: (row) => row.tokens(name).map((piece) => h("bdi", { class: "ng-piece ng-bit" }, visible(piece))),
      say: (row) => {
        const by = row.numbers(`${name}_by`);
        return `${label} ${row.tokens(name).map((piece, k) => `${quoted(piece)} ${compact(by[k] ?? NaN)}`).join(", ")}`;
      },
    }),
    flags: () => ({
      draw: (row) => {
        const flags = flagsOf(row);
        return flags.length ? flags.map((flag) => h("span", { class: `ng-flag${flag === "not finite" ? " ng-flag-bad" : ""}` }, flag)) : [none()];
      },
      say: (row) => {
        const bad = row.number("not_finite");
        return flagsOf(row).map((flag) => (flag === "not finite" ? `not finite at ${compact(bad)} tokens` : flag)).join(", ") || "no flags";
      },
    }),
    rating: () => ({
      draw: (row) => {
        const rating = said(row)?.rating ?? null;
        return rating === null ? [none()] : [h("span", { class: "ng-stars" }, "★".repeat(rating)), h("span", { class: "ng-offscreen" }, `${rating} of 5`)];
      },
      say: (row) => {
        const rating = said(row)?.rating ?? null;
        return rating === null ? "not rated" : `rated ${rating} of 5`;
      },
    }),
  };

  const known = new Map(choices.columns.map((column) => [column.name, column]));
  return shown.flatMap((name) => {
    const column = known.get(name);
    if (!column) return [];
    const { label, kind, what } = column;
    const end = kind === "number" || kind === "share";
    const grow = GROW[name];
    return [{ name, label, what, width: WIDE[name] ?? WIDTH[kind], end, ...(grow && { grow }), ...kinds[kind](column) }];
  });
}
