/** Synced state of the explanation lab: the traits it shares with Python, typed, and what comes over the wire. */
import type { ErrorInfo } from "../../core/protocol.js";
import type { BaseTraits } from "../../core/traits.js";

/** Which tokens have a value, and it. */
export interface WireSparse {
  i: number[];
  x: (number | null)[];
}

export interface WireWindow extends WireSparse {
  g: string; // group
  d: number; // document
  s: number; // where it begins there
  t: number[]; // places in the list of pieces
}

/** Simulated values of a window, or why there are none. */
export type WireSaid = WireSparse | { why: string };

export interface WireWindows {
  windows: WireWindow[];
  pieces: string[];
  kinds: number[];
}

export interface WireBench extends WireWindows {
  view: string;
  id: number;
  feature: number;
  name: string;
  n_features: number;
  problem: ErrorInfo | null;
  largest: number | null;
  signed: boolean;
  split: { train: number; test: number; trained: number; strong: number; random: number } | null;
}

export interface WireScore {
  name: string;
  value: number | null;
  low: number | null;
  high: number | null;
  windows: number;
  failures: number;
  reason: string;
}

/** How the simulator did at detection or fuzzing, window by window; `why`: it can't be asked. */
export interface WireJudged {
  why: string;
  scores: WireScore[];
  verdicts: { window: number; truth: boolean; answer: boolean | null; marked: number | null; why: string }[];
}

export interface WireSimulation {
  view: string;
  id: number;
  feature: number;
  text: string;
  simulator: string;
  asked: boolean; // false: edited since, by a simulator that is not asked at every edit
  problem: ErrorInfo | null; // the text can't be simulated
  factor: number | null; // simulated values were multiplied by it
  values: WireSaid[]; // one for each window; none where nothing was simulated
  others: WireSaid[]; // the same of the counterexamples
  scores: WireScore[];
  effects: WireScore[];
  judged: Record<string, WireJudged>; // detection, fuzzing: where they were asked for
}

/** A text and its main score, or why it has none. */
export interface WireScored {
  text: string;
  author: string;
  kept: boolean; // in the store
  score: WireScore | null;
  why: string;
}

export interface WireStep extends WireScored {
  made: "stored" | "typed" | "explained" | "revised";
  gain: number | null; // over the step before
}

export interface WireRow extends WireScored {
  now: boolean; // it is the explanation of now
  random: WireScore | null;
}

export interface Traits extends BaseTraits {
  attached: boolean;
  feature: string;
  base: string;
  explanation: string;
  simulator: string;
  simulators: [name: string, quick: boolean][];
  explainers: string[];
  scale: "one" | "own";
  threshold: number;
  author: string;
  text: string;
  frame: Partial<WireBench>;
  simulation: Partial<WireSimulation>;
  history: WireStep[];
  step: number;
  table: { rows?: WireRow[]; simulator?: string; left_out?: number };
  others: Partial<WireWindows> & { own?: boolean };
}
