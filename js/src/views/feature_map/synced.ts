/**
 * Synced state of the feature map: the traits it shares with Python, typed, and the frame that one of them holds. What
 * concerns this mounted view alone (where it is zoomed to, what is pointed at) is in ui-state.ts.
 */
import type { Packed } from "../../core/codec.js";
import type { BaseTraits } from "../../core/traits.js";

export interface WireColumn {
  key: string;
  unit: string;
  title: string;
  log: boolean; // values are log10
  zero: number | null; // of a logarithmic column: what stands for 0
  domain: [number, number];
  values: Packed; // NaN: no value
}

export interface WireCategory {
  key: string;
  names: string[];
  titles: string[];
  codes: Packed;
  none: number; // the code of those that belong to nothing: drawn hollow; -1: there are none
}

export interface WireMap {
  method: string;
  about: string;
  explained: number[];
  stores: { name: string; n: number }[]; // the points, in this order; only the first store's can be selected
  xy: Packed; // [points, 2]; NaN: not drawn
  columns: WireColumn[];
  categories: WireCategory[];
  pieces: string[];
  top: Packed; // into pieces; -1: none
  promoted: Packed; // [points, k], the same
  explanations: Record<string, string>;
  notice: string;
}

export interface Traits extends BaseTraits {
  attached: boolean;
  method: string;
  colour: string;
  subset: number[];
  feature: string; // id of a feature of the first store; "": none
  base: string; // what such ids begin with
  progress: string;
  lists: string[];
  frame: Partial<WireMap>;
}
