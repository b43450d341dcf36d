/**
 * UI-only state of one mounted view about its runs and errors: made anew for every view and never saved. What Python
 * shares is in traits.ts.
 */
import type { ErrorInfo } from "./protocol.js";

export interface RunState {
  drawnId: number; // the newest of our own requests that was drawn
  awaitedId: number; // a run that is done, its frame is still on the way
  runError: ErrorInfo | null; // the newest run failed
  drawError: ErrorInfo | null; // the newest frame could not be drawn
  errorDismissed: boolean; // a frame came after the `error` trait
  stopped: boolean; // the newest run was cancelled
  milliseconds: number | null; // from sending the newest run to its frame
  kernelVersion: string | null; // what hello answered
}

export const createRunState = (): RunState => ({
  drawnId: 0,
  awaitedId: 0,
  runError: null,
  drawError: null,
  errorDismissed: false,
  stopped: false,
  milliseconds: null,
  kernelVersion: null,
});
