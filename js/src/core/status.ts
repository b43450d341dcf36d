/**
 * The status of a view as a word for the page and a line for the person. In: what the view knows of its kernel, its
 * requests and its picture. Out: state and text. Pure.
 */
import { compact } from "./format.js";

export interface Situation {
  live: boolean;
  dead: boolean;
  waiting: boolean; // a request was not acknowledged for a while
  running: boolean;
  stopped: boolean;
  failed: boolean; // an error is shown
  size: string | null; // of the picture, "12 tokens"; null: there is none
  milliseconds: number | null;
}

export type State = "static" | "dead" | "waiting" | "running" | "failed" | "ready";

export function statusOf({ live, dead, waiting, running, stopped, failed, size, milliseconds }: Situation): { state: State; text: string } {
  const shown = size === null ? "" : ` · ${size}`;
  if (!live) return { state: "static", text: `static${shown}` };
  if (dead) return { state: "dead", text: "kernel not answering" };
  if (waiting) return { state: "waiting", text: "waiting for the running cell…" };
  if (running) return { state: "running", text: "running…" };
  if (failed) return { state: "failed", text: size === null ? "failed" : "failed · the last picture is shown" };
  const time = milliseconds === null ? "" : ` · ${compact(Math.round(milliseconds), 6)} ms`;
  return { state: "ready", text: stopped ? `stopped${shown}` : `ready${shown}${time}` };
}
