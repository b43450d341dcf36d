/** Synced state of a head's page: the traits it shares with Python, typed, and the frames that two of them hold. */
import type { Packed } from "../../core/codec.js";
import type { BaseTraits } from "../../core/traits.js";

export interface WirePair {
  pieces: string[];
  kinds: number[];
  query: number; // places in the pieces
  key: number;
  gap: number; // tokens left out before the place `cut`
  cut: number;
  document: number;
  value: number;
  distance: number;
}

export interface WireSummary {
  top: number;
  random: number;
  max: number | null;
  mean: number | null;
  mean_error: number | null;
  distance: number | null;
  itself: number | null;
  previous: number | null;
  first: number | null;
  keys: [piece: string, n: number][];
  queries: [piece: string, n: number][];
  reach: { labels: string[]; top: number[]; random: number[] };
}

export interface WireHead {
  head: [number, number];
  heads: [layer: number, head: number, largest: number | null][]; // that were harvested
  size: [layers: number, heads: number] | null; // of the model; null: it is not there
  summary: WireSummary;
  pairs: { top: WirePair[]; random: WirePair[] };
  tokens: number;
}

export interface WireAttention {
  text: string;
  pieces: string[];
  kinds: number[];
  pattern: Packed; // [query, key]
  written: Packed;
  notice: string;
}

export type By = "written" | "pattern";

export interface Traits extends BaseTraits {
  attached: boolean;
  head: [number, number];
  text: string;
  by: By;
  token: number | null;
  attention: Partial<WireAttention>;
  frame: Partial<WireHead>;
}
