/** Synced state of a blinded rating: the traits it shares with Python, typed. Nothing in it says what is rated. */
import type { BaseTraits } from "../../core/traits.js";

export interface WireExcerpt {
  t: number[]; // places in the pieces
  at: number;
  i: number[];
  x: (number | null)[]; // shares of the excerpt's own largest value
}

export const QUESTIONS = ["confidence", "consistency", "logits", "gap", "specificity"] as const;
export type Question = (typeof QUESTIONS)[number];

export interface Answers {
  hypothesis: string;
  confidence: number | null;
  consistency: (number | null)[];
  logits: number | null;
  gap: number | null;
  specificity: number | null;
}

export interface WireFrame {
  view: string;
  id: number;
  item: number;
  items: number;
  done: number[];
  groups: WireExcerpt[][];
  rated: number[];
  promoted: [piece: string, share: number][];
  questions: Record<Question, [most: number, asked: string]>;
  answers: Answers | null;
  unblinded: boolean;
  what: { source: string; feature: number; intervals: number[]; of: number } | null;
  pieces: string[];
  kinds: number[];
}

export interface Traits extends BaseTraits {
  item: number;
  frame: Partial<WireFrame>;
}
