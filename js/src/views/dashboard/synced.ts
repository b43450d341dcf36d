/** Synced state of a feature's page: the traits it shares with Python, typed, and the page as it comes over the wire. */
import type { BaseTraits } from "../../core/traits.js";

/** An excerpt of the corpus: `t` are places in the page's list of pieces, `i` and `x` which tokens have which value. */
export interface WireExcerpt {
  g: string; // group
  r: number; // rank in it
  v: number | null;
  at: number; // the token that counts
  d: number; // document
  s: number; // where in it the excerpt starts
  lead: number; // leading tokens, as BOS
  t: number[];
  i: number[];
  x: (number | null)[];
  m?: [from: number, to: number]; // only these were measured
}

export interface WireGroup {
  name: string;
  kept: number;
  low: number | null;
  high: number | null;
  share: number | null; // of the tokens where the feature is on
}

export interface WireExplanation {
  id: string;
  text: string;
  author: string;
  created: string;
  scores: Record<string, number | null>;
}

export interface WireSaid {
  explanations: WireExplanation[];
  rating: number | null;
  note: string;
  lists: string[];
}

export interface WireStats {
  count: number;
  density: number;
  max: number | null;
  min: number | null;
  mean: number | null;
  mean_square: number | null;
  skew: number | null;
  kurtosis: number | null;
  not_finite: number;
  single_token_share: number | null;
  norm: number | null;
}

export interface WireHistogram {
  linear: { low: number; width: number; counts: number[] };
  log: { edges: number[]; counts: number[] };
}

type Pair = [piece: string, by: number | null];

export interface WirePage {
  view: string;
  id: number;
  feature: number;
  name: string;
  n_features: number;
  n_tokens: number;
  stats: WireStats;
  top_token: string | null;
  flags: string[];
  histogram: WireHistogram;
  promoted: Pair[] | null;
  suppressed: Pair[] | null;
  tokens: [piece: string, count: number, share: number | null, on: number | null, mean: number | null][];
  coactive: [other: number, share: number | null, phi: number | null, count: number][];
  neurons: [neuron: number, pearson: number | null, cosine: number | null][] | null;
  alignment: [coordinate: number, value: number | null, share: number | null][] | null;
  neighbours: [feature: number, cosine: number | null][] | null;
  logits: { low: number; width: number; counts: number[] } | null;
  said: WireSaid;
  groups: WireGroup[];
  examples: WireExcerpt[];
  pieces: string[];
  kinds: number[];
}

export interface WireFit {
  specificity: number | null;
  sensitivity: number | null;
  pearson: number | null;
  tokens: number;
  on: number;
  holds: number;
  both: number;
}

export interface Traits extends BaseTraits {
  attached: boolean;
  feature: string;
  base: string;
  text: string;
  rule: string;
  predicates: string[];
  others: string[];
  frame: Partial<WirePage>;
  said: Partial<WireSaid>; // newer than the page's own
  steered: string | null; // names a view
  site?: boolean; // a page of a static site: other features can be turned to
}
