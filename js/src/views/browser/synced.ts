/** Synced state of the browser: the traits it shares with Python, and what comes as rows, typed. */
import type { Packed } from "../../core/codec.js";
import type { BaseTraits } from "../../core/traits.js";

/** Conditions; what is left out does not matter. */
export interface Query {
  explanation?: string;
  token?: string | number;
  logit?: string | number;
  text?: string;
  density?: [number, number];
  flags?: string[];
  without?: string[];
  list?: string;
  rating?: [number, number];
  prompt?: string;
  tokens?: number[];
  by?: "max" | "sum";
  bos?: boolean;
}

export interface WireColumn {
  name: string;
  label: string;
  kind: "index" | "number" | "share" | "token" | "tokens" | "flags" | "rating" | "text";
  what: string;
  extra: boolean; // what a query says of a feature: always shown when it does
}

export interface WireRows {
  from: number;
  features: Packed;
  numbers: Record<string, Packed>;
  tokens: Record<string, Packed>;
  pieces: Record<string, string>;
  at?: string[];
  result?: number;
  said?: Record<string, Said>;
}

/** What was said of a feature. */
export interface Said {
  explanation: string | null;
  author: string | null;
  score: number | null;
  more: number; // further explanations
  rating: number | null;
  note: string;
  lists: string[];
}

export interface WirePrompt {
  pieces: string[];
  kinds: number[];
  bos: boolean; // the first token is one
}

export interface WireFrame {
  view: string;
  id: number;
  result: number; // which one rows belong to
  total: number;
  sort: string;
  descending: boolean;
  extra: string[];
  rows: WireRows;
  empty: string | null;
  notice: string;
  prompt: WirePrompt | null;
}

export interface Remarks {
  of: Record<string, Said>;
  lists: [name: string, count: number][];
  fresh: number; // another number: what is known of other rows is old
}

export interface Choices {
  columns: WireColumn[];
  tokens: number; // measured
  features: number;
  largest: number; // value of any feature
}

export interface Traits extends BaseTraits {
  attached: boolean;
  base: string;
  feature: string;
  query: Query;
  sort: string;
  descending: boolean;
  columns: string[];
  subset: number[];
  chosen: number[];
  dashboard: string | null; // the page of the selected feature, "anywidget:<model id>"
  choices: Choices;
  frame: Partial<WireFrame>;
  remarks: Partial<Remarks>;
}
