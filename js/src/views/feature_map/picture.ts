/**
 * From the frame on the wire to the picture in memory. In: the `frame` trait. Out: typed arrays checked against each other;
 * a frame that contradicts itself is an error with a message, never a half-drawn map. Pure.
 */
import { type Packed, decodeFloats, decodeInts } from "../../core/codec.js";
import { Values } from "../../core/values.js";
import type { WireMap } from "./synced.js";

export interface Column {
  key: string;
  unit: string;
  title: string;
  log: boolean;
  lo: number; // of the scale: log10 where log
  hi: number;
  signed: boolean;
  values: Values;
  zeroAt: number; // values up to this stand for 0; -Infinity: none do
  missing: number;
  zeros: number;
}

export interface Category {
  key: string;
  names: readonly string[];
  titles: readonly string[];
  codes: Int32Array;
  counts: readonly number[];
  none: number;
}

export interface Picture {
  wire: WireMap;
  n: number; // points
  own: number; // of them the first store's, which can be selected
  xy: Float32Array;
  drawn: number;
  columns: Column[];
  categories: Category[];
  top: Int32Array;
  promoted: Int32Array;
  k: number; // promoted tokens of each
}

function sized<A extends { length: number }>(array: A, n: number, what: string): A {
  if (array.length !== n) throw new Error(`${what} has ${array.length} entries; ${n} were expected`);
  return array;
}

function readColumn(wire: WireMap["columns"][number], n: number): Column {
  const what = `column ${wire.key}`;
  const values = sized(new Values(wire.values, what), n, what);
  const [lo, hi] = wire.domain;
  const zeroAt = wire.zero === null ? -Infinity : (wire.zero + lo) / 2;
  return {
    key: wire.key, unit: wire.unit, title: wire.title, log: wire.log, values, zeroAt,
    signed: !wire.log && lo < 0 && hi > 0,
    lo: !wire.log && lo < 0 && hi > 0 ? -Math.max(-lo, hi) : lo,
    hi: !wire.log && lo < 0 && hi > 0 ? Math.max(-lo, hi) : hi,
    missing: values.count(Number.isNaN),
    zeros: wire.log ? values.count((v) => v <= zeroAt) : 0,
  };
}

/** The value as it is: 0 where a logarithmic column says so. */
export function valueAt(column: Column, i: number): number {
  const v = column.values.at(i);
  if (!column.log || Number.isNaN(v)) return v;
  return v <= column.zeroAt ? 0 : 10 ** v;
}

/** The picture of a frame; null where there is none. */
export function readFrame(frame: Partial<WireMap>): Picture | null {
  if (!frame.xy || !frame.stores) return null;
  const wire = frame as WireMap;
  const n = wire.stores.reduce((sum, store) => sum + store.n, 0);
  const ints = (packed: Packed, size: number, what: string): Int32Array => sized(decodeInts(packed, what), size, what);
  const xy = sized(decodeFloats(wire.xy, "xy"), 2 * n, "xy");
  const k = wire.promoted.shape[1] ?? 0;
  const categories = wire.categories.map(({ key, names, titles, none, codes: packed }) => {
    const codes = ints(packed, n, `category ${key}`);
    const counts = names.map(() => 0);
    for (const code of codes) {
      if (code >= names.length) throw new Error(`category ${key} has no name for ${code}`);
      counts[code] = (counts[code] ?? 0) + 1;
    }
    return { key, names, titles, none, codes, counts };
  });
  let drawn = 0;
  for (let i = 0; i < n; i++) if (!Number.isNaN(xy[2 * i])) drawn++;
  return {
    wire, n, xy, drawn, k, categories,
    own: wire.stores[0]?.n ?? 0,
    columns: wire.columns.map((column) => readColumn(column, n)),
    top: ints(wire.top, n, "top"),
    promoted: ints(wire.promoted, n * k, "promoted"),
  };
}

export interface Named {
  store: string;
  index: number; // of the feature in its store
  which: number; // of the stores
}

export function nameOf(picture: Picture, i: number): Named {
  let first = 0;
  for (const [which, { name, n }] of picture.wire.stores.entries()) {
    if (i < first + n) return { store: name, index: i - first, which };
    first += n;
  }
  throw new Error(`there is no point ${i}`);
}

/** The points whose explanation, commonest token or promoted tokens have these letters in them. */
export function search(picture: Picture, query: string): number[] {
  const wanted = query.toLowerCase();
  if (wanted.trim() === "") return [];
  const hit = picture.wire.pieces.map((piece) => piece.toLowerCase().includes(wanted));
  const said = picture.wire.explanations;
  const found: number[] = [];
  for (let i = 0; i < picture.n; i++) {
    let is = hit[picture.top[i] ?? -1] === true;
    for (let j = 0; !is && j < picture.k; j++) is = hit[picture.promoted[i * picture.k + j] ?? -1] === true;
    if (is || said[i]?.toLowerCase().includes(wanted)) found.push(i);
  }
  return found;
}
