/**
 * Synced state of Steer: the traits it shares with Python, typed. What concerns this mounted view alone is in the parts
 * that show it.
 */
import type { About, Slider, SliderChoices } from "../../core/slider.js";
import type { BaseTraits } from "../../core/traits.js";
import type { WireSweep, WireTexts } from "./wire.js";

/** How the texts are written. */
export interface Writing {
  text: string;
  chat: boolean;
  messages: { role: string; content: string }[]; // before the text
  n: number;
  max_new_tokens: number;
  temperature: number;
  top_p: number;
  seed: number;
  stop: string[];
  tokens: string[];
}

export interface Traits extends BaseTraits, Writing {
  sliders: Slider[];
  known: Record<string, About>;
  choices: SliderChoices;
  feature: string;
  readout: string;
  frame: Partial<WireTexts>;
  sweep: Partial<WireSweep>;
}

export const WRITING = ["text", "chat", "messages", "n", "max_new_tokens", "temperature", "top_p", "seed", "stop", "tokens"] as const;
