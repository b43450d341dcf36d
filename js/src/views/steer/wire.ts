/**
 * What streams from the kernel, as types: one event for each token of both texts, the frame that collects them, and a
 * sweep. `views/steered.py` is the other half. Arrays are by sample; null is "no value".
 */
type Numbers = (number | null)[];

export interface WireSide {
  ids: number[]; // -1: ended before
  pieces: string[];
  logprobs: Numbers; // under its own model
  ended: boolean[];
}

export interface WireEvent {
  i: number;
  base: WireSide;
  steered: WireSide;
  kl: Numbers;
  plain: Numbers; // log-probability of the steered token under the untouched model
  ranks: [plain: number[], steered: number[]];
  perplexity: Numbers;
  divergence: (number | null)[];
  change: Record<string, Numbers>; // of the token before: site -> ‖Δ‖/‖h‖
  active: Record<string, Numbers[]>; // likewise: feature -> [base, steered, reader]
  chosen: Numbers[][]; // [plain, steered][sample][token]
  chosen_ranks: number[][][];
}

export interface WireTexts {
  view: string;
  id: number;
  prompt: { pieces: string[]; kinds: number[] };
  n: number;
  tokens: string[];
  events: WireEvent[];
  stopped: boolean;
}

export interface WirePoint {
  value: number | null; // null: not steered
  concept: number | null;
  perplexity: number | null;
  distinct: number | null;
  fluent: boolean;
  texts: string[];
}

export interface WireSweep {
  label: string;
  mode: string;
  formula: string;
  unit: string;
  unit_name: string;
  prompt: string;
  temperature: number;
  concept: string;
  base: WirePoint;
  points: WirePoint[];
  knees: number[];
}
