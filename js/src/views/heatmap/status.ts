/**
 * The status of a heatmap as a word for the page and a line for the person. In: what the view knows of its kernel, its
 * requests and its picture. Out: state and text. Pure.
 */
import { compact, count } from "../../core/format.js";

export interface Situation {
  live: boolean;
  dead: boolean;
  running: boolean;
  stopped: boolean;
  tokens: number | null; // null: no picture
  milliseconds: number | null;
}

export type State = "static" | "dead" | "running" | "ready";

export function statusOf({ live, dead, running, stopped, tokens, milliseconds }: Situation): { state: State; text: string } {
  const shown = tokens === null ? "" : ` · ${count(tokens, "token")}`;
  if (!live) return { state: "static", text: `static${shown}` };
  if (dead) return { state: "dead", text: "kernel not answering" };
  if (running) return { state: "running", text: "running…" };
  const time = milliseconds === null ? "" : ` · ${compact(Math.round(milliseconds), 6)} ms`;
  return { state: "ready", text: stopped ? `stopped${shown}` : `ready${shown}${time}` };
}
