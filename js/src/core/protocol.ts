/**
 * What crosses the comm, as types: the frame (everything a heatmap draws), requests and replies. The Python half
 * keeps the same names. Nothing here runs, except `asReply`, which sorts our replies from other messages.
 */
import type { Packed } from "./codec.js";

export const PROTOCOL = 1;

export interface ErrorInfo {
  type: string;
  message: string;
  hint?: string | null;
}

export interface WireSequence {
  pieces: string[];
  kinds: Packed;
  ids: Packed | null;
  masked: Packed | null;
  logprobs: Packed | null;
  entropy: Packed | null;
  top: { ids: Packed; logprobs: Packed; pieces: Record<string, string> } | null;
  aligned?: Packed | null; // the corresponding token of the other text, or -1
}

export interface WireRow {
  label: string;
  feature: number | null;
  key?: string; // names the row in `locked`; "" where rows have no names
  id?: string; // of its feature, model/site/basis/index
  locked?: boolean; // it stays when the site changes
  seq: number;
  values: Packed;
  signed: boolean;
  domain: [number, number];
  robust?: number; // where the robust scale ends
}

export interface WireFrame {
  id: number;
  view: string;
  text: string;
  site: string;
  layer: number;
  features: number[];
  locked?: string[];
  source?: string;
  compare?: string;
  across?: boolean;
  seqs: WireSequence[];
  rows: WireRow[];
  notice: string | null;
}

/** What is asked for: "hello", "run" and "cancel" of every live view, and what a view adds. */
export type Kind = string;

/** A message from the kernel about one of our requests. */
export interface Reply {
  v: number;
  view: string;
  id: number;
  seq: number;
  done: boolean;
  error?: ErrorInfo | null;
  superseded?: boolean;
  cancelled?: boolean;
  [key: string]: unknown;
}

/** The message as a reply to the view named `view`, or null where it is for somebody else or not a reply at all. */
export function asReply(message: unknown, view: string): Reply | null {
  if (typeof message !== "object" || message === null) return null;
  const reply = message as Partial<Reply>;
  return reply.view === view && typeof reply.id === "number" ? (reply as Reply) : null;
}
