/**
 * Excerpts as the page draws them. In: an excerpt of the wire with the pieces it points into. Out: plain arrays by token,
 * cut to a context, and how strong the effect of a token is. Pure.
 */
import type { WireExcerpt } from "./synced.js";

export interface Excerpt {
  group: string;
  rank: number;
  value: number;
  at: number;
  document: number;
  start: number; // of the first token that is no leading one
  lead: number;
  pieces: readonly string[];
  kinds: readonly number[];
  values: Float64Array; // NaN where nothing was measured
  effect: readonly (number | null)[] | null; // log-likelihood with the feature minus without, nats
}

export function readExcerpt(wire: WireExcerpt, pieces: readonly string[], kinds: readonly number[]): Excerpt {
  const n = wire.t.length;
  if (wire.i.length !== wire.x.length) throw new Error(`An example has ${wire.i.length} places for ${wire.x.length} values.`);
  const values = new Float64Array(n);
  if (wire.m) values.fill(NaN, 0, wire.m[0]).fill(NaN, wire.m[1]);
  wire.i.forEach((at, k) => {
    values[at] = wire.x[k] ?? NaN;
  });
  return {
    group: wire.g,
    rank: wire.r,
    value: wire.v ?? NaN,
    at: wire.at,
    document: wire.d,
    start: wire.s,
    lead: wire.lead,
    pieces: wire.t.map((place) => pieces[place] ?? ""),
    kinds: wire.t.map((place) => kinds[place] ?? 0),
    values,
    effect: null,
  };
}

/** What names the excerpt's stretch of the corpus to the kernel. */
export const placeOf = (one: Excerpt): [document: number, start: number, n: number] => [one.document, one.start, one.pieces.length - one.lead];

/** The tokens that a context of so many on each side shows; 0 shows all. */
export function cut(one: Excerpt, around: number): [from: number, to: number] {
  if (around === 0) return [0, one.pieces.length];
  return [Math.max(0, one.at - around), Math.min(one.pieces.length, one.at + around + 1)];
}

/** The class of a token's effect: its sign, and its size in four steps of the largest; "" where there is none to see. */
export function effectClass(effect: number | null | undefined, largest: number): string {
  if (effect === null || effect === undefined || largest <= 0 || Math.abs(effect) < 0.02 * largest) return "";
  return ` ng-${effect > 0 ? "helped" : "hurt"}${Math.min(4, Math.ceil((4 * Math.abs(effect)) / largest))}`;
}

export const largestEffect = (all: readonly Excerpt[]): number => Math.max(0, ...all.flatMap((one) => one.effect ?? []).map((e) => Math.abs(e ?? 0)));
