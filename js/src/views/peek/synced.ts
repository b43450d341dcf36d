/** Synced state of LogitPeek: the traits it shares with Python, typed. */
import type { About, Slider, SliderChoices } from "../../core/slider.js";
import type { BaseTraits } from "../../core/traits.js";

export interface WireNext {
  token: string;
  id: number;
  base: number | null; // probabilities
  steered: number | null;
  delta: number | null; // of log-probability, nats
  rank: number;
  rank_in_base: number;
}

export interface WirePeek {
  view: string;
  id: number;
  prompt: { pieces: string[]; kinds: number[] };
  rows: WireNext[];
  rest: [base: number | null, steered: number | null]; // probability of all other tokens
  kl: number | null;
  change: Record<string, number | null>;
  active: Record<string, number | null>;
  resumed: boolean;
}

export interface Traits extends BaseTraits {
  text: string;
  chat: boolean;
  messages: { role: string; content: string }[];
  sliders: Slider[];
  known: Record<string, About>;
  choices: SliderChoices;
  feature: string;
  k: number;
  frame: Partial<WirePeek>;
}
