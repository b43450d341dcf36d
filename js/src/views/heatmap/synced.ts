/**
 * Synced state of the heatmap: the traits it shares with Python, typed. What concerns this mounted view alone (draft,
 * cursor, hover) is in ui-state.ts.
 */
import type { WireFrame } from "../../core/protocol.js";
import type { SelectionTraits } from "../../core/selection.js";

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

export interface Traits extends SelectionTraits {
  text: string;
  site: string;
  layer: number;
  features: number[];
  locked: string[];
  compare: string;
  across: boolean;
  choices: Choices;
  frame: Partial<WireFrame>;
  feature: string;
  scale: "row" | "shared" | "robust";
  wrap: boolean;
  arrange: "auto" | "rows" | "one";
}
