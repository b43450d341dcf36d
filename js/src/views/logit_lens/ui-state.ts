/**
 * UI-only state of one mounted logit lens: what this view knows and nobody else should. It is made anew for every view
 * and never saved; what Python shares is in synced.ts.
 */
import type { Place } from "../../core/selection.js";
import type { Target } from "./synced.js";

/** What the editor asks for. */
export interface Draft {
  text: string;
  target: Target;
}

export interface UiState {
  hover: Place | null; // the cell that the tooltip tells about
  draft: Draft;
}

export const createUiState = (): UiState => ({ hover: null, draft: { text: "", target: "" } });
