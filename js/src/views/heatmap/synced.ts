/**
 * Synced state of the heatmap: the traits it shares with Python, typed, and the only place that writes one (`selected`).
 * What concerns this mounted view alone (draft, cursor, hover) is in ui-state.ts.
 */
import { type Model, listen } from "../../core/model.js";
import type { ErrorInfo, WireFrame } from "../../core/protocol.js";
import type { ThemeWish } from "../../core/theme.js";

export interface SiteChoice {
  name: string;
  layers: number;
  width: number;
  what: string;
}

export interface Choices {
  sites?: SiteChoice[];
  context?: number;
  quantities?: { key: string; label: string }[]; // rows that any site may have
}

export type Place = [row: number, position: number];

export interface Traits {
  _version: string;
  live: boolean;
  title: string;
  text: string;
  site: string;
  layer: number;
  features: number[];
  locked: string[];
  choices: Choices;
  frame: Partial<WireFrame>;
  selected: Place | null;
  scale: "row" | "shared";
  theme: ThemeWish;
  error: ErrorInfo | null;
  code: string;
}

export class Synced {
  constructor(
    private readonly model: Model<Traits>,
    private readonly signal: AbortSignal,
  ) {}

  get<K extends keyof Traits>(name: K): Traits[K] {
    return this.model.get(name);
  }

  /** Calls back when one of these traits changes. */
  on(names: (keyof Traits)[], callback: () => void): void {
    for (const name of names) listen(this.model, `change:${name}`, this.signal, callback);
  }

  select(place: Place | null): void {
    this.model.set("selected", place);
    this.model.save_changes();
  }

  /** The selected place, if it is one. */
  get selected(): Place | null {
    const place: unknown = this.model.get("selected");
    return Array.isArray(place) && place.length === 2 ? (place as Place) : null;
  }
}
