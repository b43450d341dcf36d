/**
 * UI-only state of one mounted heatmap: what this view knows and nobody else should. It is made anew for every view
 * and never saved; what Python shares is in synced.ts.
 */
import type { ErrorInfo } from "../../core/protocol.js";
import type { Place } from "./synced.js";

/** What the editor asks for. */
export interface Draft {
  text: string;
  site: string;
  layer: number;
  features: number[]; // [] = the strongest, chosen by the kernel
  locked: string[]; // keys of the rows that stay when the site changes
}

export interface UiState {
  drawnId: number; // the newest of our own requests that was drawn
  awaitedId: number; // a run that is done, its frame is still on the way
  runError: ErrorInfo | null; // the newest run failed
  drawError: ErrorInfo | null; // the newest frame could not be drawn
  errorDismissed: boolean; // a frame came after the `error` trait
  stopped: boolean; // the newest run was cancelled
  milliseconds: number | null; // from sending the newest run to its frame
  kernelVersion: string | null; // what hello answered
  cursor: Place; // the token that the keyboard stands on
  hover: Place | null; // the token that the tooltip tells about
}

export const createUiState = (): UiState => ({
  drawnId: 0,
  awaitedId: 0,
  runError: null,
  drawError: null,
  errorDismissed: false,
  stopped: false,
  milliseconds: null,
  kernelVersion: null,
  cursor: [0, 0],
  hover: null,
});
