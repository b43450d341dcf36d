/**
 * Windows with their real and simulated values, by token, and what a threshold makes of them: misses and false alarms. In:
 * the wire. Out: plain arrays. Pure; what does not fit throws.
 */
import type { WireSaid, WireSparse, WireWindow, WireWindows } from "./synced.js";

export interface Window {
  group: string;
  document: number; // -1: of no corpus
  start: number;
  pieces: readonly string[];
  kinds: readonly number[];
  real: Float64Array;
}

/** What was simulated for a window; `values` null: nothing, and `why`. */
export interface Said {
  values: Float64Array | null;
  why: string;
}

export type Mark = "" | "miss" | "alarm";

function dense({ i, x }: WireSparse, n: number): Float64Array {
  if (i.length !== x.length) throw new Error(`A window has ${i.length} places for ${x.length} values.`);
  const out = new Float64Array(n);
  i.forEach((at, k) => {
    if (at >= n) throw new Error(`A window of ${n} tokens has a value at token ${at}.`);
    out[at] = x[k] ?? NaN;
  });
  return out;
}

export function readWindows({ windows = [], pieces = [], kinds = [] }: Partial<WireWindows>): Window[] {
  return windows.map((wire: WireWindow) => ({
    group: wire.g,
    document: wire.d,
    start: wire.s,
    pieces: wire.t.map((place) => pieces[place] ?? ""),
    kinds: wire.t.map((place) => kinds[place] ?? 0),
    real: dense(wire, wire.t.length),
  }));
}

/** What was simulated, window by window; of windows about which nothing was said there is nothing. */
export function readSaid(wire: readonly WireSaid[], windows: readonly Window[]): Said[] {
  if (wire.length && wire.length !== windows.length) throw new Error(`${wire.length} simulations of ${windows.length} windows.`);
  return windows.map(({ real }, k) => {
    const said = wire[k];
    if (!said) return { values: null, why: "" };
    return "why" in said ? { values: null, why: said.why } : { values: dense(said, real.length), why: "" };
  });
}

/** On at a token is `edge` or more. A miss is on and said to be off, a false alarm the reverse. */
export function markOf(real: number, said: number, edge: number): Mark {
  if (real >= edge) return said >= edge ? "" : "miss";
  return said >= edge ? "alarm" : "";
}

export interface Verdict {
  real: number; // largest, by size
  said: number | null;
  hits: number;
  misses: number;
  alarms: number;
}

export const peak = (values: Float64Array): number => values.reduce((best, v) => (Math.abs(v) > Math.abs(best) ? v : best), 0);

export function verdictOf({ real }: Window, { values }: Said, edge: number): Verdict {
  const found: Verdict = { real: peak(real), said: values && peak(values), hits: 0, misses: 0, alarms: 0 };
  if (!values) return found;
  real.forEach((v, i) => {
    const mark = markOf(v, values[i] ?? 0, edge);
    if (mark === "miss") found.misses++;
    else if (mark === "alarm") found.alarms++;
    else if (v >= edge) found.hits++;
  });
  return found;
}

/** The token to which one looks first: the largest value of either half. */
export function homeOf({ real }: Window, { values }: Said): number {
  let home = Math.floor(real.length / 2);
  let best = 0;
  real.forEach((v, i) => {
    const size = Math.max(Math.abs(v), Math.abs(values?.[i] ?? 0));
    if (size > best) [best, home] = [size, i];
  });
  return home;
}

/** The tokens that a context of so many on each side of one shows; 0 shows all. */
export const around = (at: number, context: number, n: number): [from: number, to: number] => (context ? [Math.max(0, at - context), Math.min(n, at + context + 1)] : [0, n]);

/** Where the colours of the two halves end: at one value, or each at its own largest. */
export function scalesOf(windows: readonly Window[], said: readonly Said[], largest: number, scale: "one" | "own"): { real: number; said: number } {
  const top = (all: readonly (Float64Array | null)[]): number => all.reduce((best, values) => Math.max(best, values ? Math.abs(peak(values)) : 0), 0);
  const [real, simulated] = [top(windows.map((w) => w.real)), top(said.map((s) => s.values))];
  if (scale === "own") return { real: real || 1, said: simulated || 1 };
  const both = Math.max(real, simulated, largest) || 1;
  return { real: both, said: both };
}
