/**
 * Synced state of the heatmap: the traits it shares with Python, typed. What concerns this mounted view alone (draft,
 * cursor, hover) is in ui-state.ts.
 */
import type { WireFrame } from "../../core/protocol.js";
import type { BaseTraits } from "../../core/traits.js";

export interface SiteChoice {
  name: string;
  layers: number;
  width: number;
  what: string;
  across?: number; // layers that it can be read out of, where that is not `layers`
}

export interface Choices {
  sites?: SiteChoice[];
  context?: number;
  quantities?: { key: string; label: string }[]; // rows that any site may have
}

export type Place = [row: number, position: number];

export interface Traits extends BaseTraits {
  text: string;
  site: string;
  layer: number;
  features: number[];
  locked: string[];
  compare: string;
  across: boolean;
  choices: Choices;
  frame: Partial<WireFrame>;
  selected: Place | null;
  token: number | null;
  feature: string;
  scale: "row" | "shared" | "robust";
  wrap: boolean;
  arrange: "auto" | "rows" | "one";
}

/** The selected place, if it is one. */
export const placeOf = (value: unknown): Place | null =>
  Array.isArray(value) && value.length === 2 ? (value as Place) : null;
