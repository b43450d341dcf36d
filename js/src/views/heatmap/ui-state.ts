/**
 * UI-only state of one mounted heatmap: what this view knows and nobody else should. It is made anew for every view
 * and never saved; what Python shares is in synced.ts.
 */
import type { Hit } from "../../core/find.js";
import type { Sequence } from "../../core/picture.js";
import type { Place } from "../../core/selection.js";

/** What the editor asks for. */
export interface Draft {
  text: string;
  site: string;
  layer: number;
  features: number[]; // [] = the strongest, chosen by the kernel
  locked: string[]; // keys of the rows that stay when the site changes
  compare: string; // a second text; "" for none
  across: boolean; // the first feature in every layer
}

export interface UiState {
  hover: Place | null; // the token that the tooltip tells about
  query: string; // what is looked for
  hits: { seq: Sequence; hit: Hit }[]; // where it was found
  hit: number; // the place that is looked at, -1: none
}

export const createUiState = (): UiState => ({ hover: null, query: "", hits: [], hit: -1 });
