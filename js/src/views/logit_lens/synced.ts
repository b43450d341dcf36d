/**
 * Synced state of the logit lens: the traits it shares with Python, typed, and the frame that one of them holds. What
 * concerns this mounted view alone (draft, hover) is in ui-state.ts.
 */
import type { Packed } from "../../core/codec.js";
import type { SelectionTraits } from "../../core/selection.js";

export type Target = string | number; // a text, an id, or "": at each token the one that really comes next
export interface WireLens {
  id: number;
  view: string;
  text: string;
  target: Target;
  chosen: [id: number, piece: string] | null; // null: the next token
  sites: string[];
  labels: string[];
  pieces: string[];
  kinds: Packed;
  ids: Packed;
  targets: Packed; // the target at each token; -1: none
  top: Packed; // [sites, tokens], as all below: the likeliest next token
  logprobs: Packed; // its log-probability
  entropy: Packed;
  ranks: Packed; // of the target; 0: none
  chances: Packed; // log-probability of the target; NaN: none
  names: Record<string, string>; // pieces of the ids above
  vocabulary: number;
  notice: string | null;
}

export interface Traits extends SelectionTraits {
  text: string;
  target: Target;
  sites: string[];
  frame: Partial<WireLens>;
  colour_by: "probability" | "rank";
}
