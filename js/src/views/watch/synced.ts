/** Synced state of Watch: the traits it shares with Python, typed. */
import type { BaseTraits } from "../../core/traits.js";

export interface WireWatched {
  text: number;
  row: number;
  pieces: string[];
  kinds: number[];
  left_out: number;
}

export type WireFiring = [text: number, row: number, position: number, feature: string, value: number | null];

export interface WireWatch {
  features: { id: string; label: string; limit: number | null }[];
  action: string;
  value: number | null;
  texts: WireWatched[];
  firings: WireFiring[];
  older: number; // texts that are not drawn
  total: number;
  runs: number;
  settings: object; // as JSON for the panel; Python alone reads them
}

export interface Traits extends BaseTraits {
  frame: Partial<WireWatch>;
}
