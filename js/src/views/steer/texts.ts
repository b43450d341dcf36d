/**
 * The two texts of one sample, from the events that made them: tokens, values of a readout for each, where they differ.
 * In: events in order. Out: arrays for drawing, and the numbers of the readout panel. Pure.
 */
import type { Scaled } from "../../core/legend.js";
import type { WireEvent } from "./wire.js";

export type SideName = "base" | "steered";

export interface Readout {
  key: string;
  name: string;
  what: string; // its formula
  values: (events: readonly WireEvent[], sample: number, side: SideName) => number[];
}

const given = (value: number | null | undefined): number => value ?? NaN;
const none = (events: readonly WireEvent[]): number[] => events.map(() => NaN);

/** The readouts that these events have; `label` names features. */
export function readoutsOf(events: readonly WireEvent[], label: (feature: string) => string): Readout[] {
  const seen = (what: "change" | "active"): string[] => [...new Set(events.flatMap((event) => Object.keys(event[what])))];
  return [
    {
      key: "kl",
      name: "KL(base‖steered)",
      what: "Σ p·ln(p/q) over the next token, nats: p the untouched model, q the steered one, both after the steered text",
      values: (all, s, side) => (side === "base" ? none(all) : all.map((e) => given(e.kl[s]))),
    },
    {
      key: "logprob",
      name: "surprise, −ln p",
      what: "minus the logarithm of the token's probability under the model that wrote it, nats",
      values: (all, s, side) => all.map((e) => -given(e[side].logprobs[s])),
    },
    ...seen("change").map((site) => ({
      key: `change:${site}`,
      name: `‖Δ‖/‖h‖ at ${site}`,
      what: "how far the edits move the vector here, against its own length; of the steered text",
      // a token's own pass comes with the event after it
      values: (all: readonly WireEvent[], s: number, side: SideName) =>
        all.map((_, i) => (side === "base" ? NaN : given(all[i + 1]?.change[site]?.[s]))),
    })),
    ...seen("active").map((id) => ({
      key: `active:${id}`,
      name: `activation of ${label(id)}`,
      what: "the feature's activation at this token, before the edits",
      values: (all: readonly WireEvent[], s: number, side: SideName) =>
        all.map((_, i) => given(all[i + 1]?.active[id]?.[side === "base" ? 0 : 1]?.[s])),
    })),
    { key: "none", name: "no colours", what: "", values: none },
  ];
}

export interface Text {
  pieces: string[];
  ids: number[];
}

export function textOf(events: readonly WireEvent[], sample: number, side: SideName): Text {
  const there = events.filter((e) => (e[side].ids[sample] ?? -1) >= 0);
  return { pieces: there.map((e) => e[side].pieces[sample] ?? ""), ids: there.map((e) => e[side].ids[sample] ?? -1) };
}

/** The colour scale of values, from zero to the largest by size. */
export function scaleOf(values: readonly number[]): Scaled {
  const sizes = values.filter(Number.isFinite);
  const signed = sizes.some((value) => value < 0);
  const reach = sizes.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const missing = values.filter(Number.isNaN).length;
  return { domain: [signed ? -reach : 0, reach], signed, masked: 0, clipped: 0, missing, values };
}

const LONGEST = 600; // tokens of each text that are aligned: the table grows with their product

/** Which tokens of each text have no counterpart in the other (longest common subsequence), after the first difference. */
export function unmatched(a: readonly number[], b: readonly number[], from: number): [Set<number>, Set<number>] {
  const [x, y] = [a.slice(from, from + LONGEST), b.slice(from, from + LONGEST)];
  const wide = y.length + 1;
  const table = new Uint16Array((x.length + 1) * wide);
  for (let i = x.length - 1; i >= 0; i--) {
    for (let j = y.length - 1; j >= 0; j--) {
      table[i * wide + j] = x[i] === y[j] ? (table[(i + 1) * wide + j + 1] ?? 0) + 1 : Math.max(table[(i + 1) * wide + j] ?? 0, table[i * wide + j + 1] ?? 0);
    }
  }
  const [left, right] = [new Set<number>(), new Set<number>()];
  let [i, j] = [0, 0];
  while (i < x.length && j < y.length) {
    if (x[i] === y[j]) {
      i++;
      j++;
    } else if ((table[(i + 1) * wide + j] ?? 0) >= (table[i * wide + j + 1] ?? 0)) {
      left.add(from + i++);
    } else {
      right.add(from + j++);
    }
  }
  while (i < x.length) left.add(from + i++);
  while (j < y.length) right.add(from + j++);
  return [left, right];
}

/** distinct-2 of a text: different pairs of neighbours among all pairs; NaN where there is none. */
export function distinct2(ids: readonly number[]): number {
  const pairs = ids.slice(1).map((id, i) => `${ids[i] ?? -1},${id}`);
  return pairs.length ? new Set(pairs).size / pairs.length : NaN;
}

/** The mean of what is there. */
export function mean(values: readonly number[]): number {
  const there = values.filter((value) => !Number.isNaN(value));
  return there.length ? there.reduce((sum, value) => sum + value, 0) / there.length : NaN;
}
