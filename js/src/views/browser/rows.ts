/**
 * The rows of the present result, as far as they came. In: packed rows, and a way to ask for more. Out: a row by its
 * place, or null; of those that are asked for only the newest stretch is waited for. Rows that were not looked at for
 * long are let go.
 */
import { decodeFloats, decodeInts } from "../../core/codec.js";
import type { Said, WireRows } from "./synced.js";

const PAGE = 100;
const KEPT = 300; // pages
const AHEAD = 400; // rows that are asked for before they can be seen

export interface Row {
  feature: number;
  number: (name: string) => number; // NaN: none
  numbers: (name: string) => number[]; // of a list, such as promoted_by
  token: (name: string) => string | null;
  tokens: (name: string) => string[];
  said: Said | null;
}

interface Page {
  from: number;
  rows: Row[];
}

function decode(wire: WireRows): Row[] {
  const features = decodeInts(wire.features, "features");
  const n = features.length;
  const numbers = new Map(Object.entries(wire.numbers).map(([name, packed]) => [name, decodeFloats(packed, name)]));
  const tokens = new Map(Object.entries(wire.tokens).map(([name, packed]) => [name, decodeInts(packed, name)]));
  const piece = (id: number | undefined): string | null => (id === undefined || id < 0 ? null : (wire.pieces[String(id)] ?? null));
  /** The part of a packed list that belongs to row k. */
  const part = <A extends Float32Array | Int32Array>(all: A | undefined, k: number): A | undefined => {
    const width = (all?.length ?? 0) / Math.max(1, n);
    return all?.subarray(k * width, (k + 1) * width) as A | undefined;
  };
  return Array.from(features, (feature, k) => ({
    feature,
    number: (name) => numbers.get(name)?.[k] ?? NaN,
    numbers: (name) => [...(part(numbers.get(name), k) ?? [])],
    token: (name) => (name === "at" ? (wire.at?.[k] ?? null) : piece(tokens.get(name)?.[k])),
    tokens: (name) => [...(part(tokens.get(name), k) ?? [])].map((id) => piece(id) ?? "?"),
    said: wire.said?.[String(feature)] ?? null,
  }));
}

export class Rows {
  #first: Row[] = []; // those of the frame
  #result = -1;
  readonly #pages = new Map<number, Page>();

  /** A new result, with its first rows. */
  reset(result: number, wire: WireRows): void {
    this.#pages.clear();
    this.#first = decode(wire);
    this.#result = result;
  }

  /** What came with other rows is old. */
  forget(): void {
    this.#pages.clear();
  }

  get known(): number {
    return this.#first.length;
  }

  /** Rows that came with the result; others have what was said of them with themselves. */
  ofFrame(i: number): boolean {
    return i < this.#first.length;
  }

  at(i: number): Row | null {
    return this.#first[i] ?? this.#pages.get(Math.floor(i / PAGE))?.rows[i % PAGE] ?? null;
  }

  /** Which rows to ask for so that these and, where the scrolling goes, the next are there; null: none are missing. */
  missing(from: number, to: number, total: number, down: boolean): { from: number; to: number } | null {
    const [first, last] = [Math.max(0, from - (down ? 0 : AHEAD)), Math.min(total, to + (down ? AHEAD : 0)) - 1];
    let [low, high] = [-1, -1];
    for (let page = Math.floor(first / PAGE); page <= Math.floor(last / PAGE); page++) {
      if (this.at(page * PAGE) && this.at(Math.min(total - 1, (page + 1) * PAGE - 1))) continue;
      if (low < 0) low = page;
      high = page;
    }
    return low < 0 ? null : { from: low * PAGE, to: Math.min(total, (high + 1) * PAGE) };
  }

  /** Takes rows that came; false: they belong to another result. */
  take(wire: WireRows): boolean {
    if (wire.result !== this.#result) return false;
    const rows = decode(wire);
    for (let k = 0; k < rows.length; k += PAGE) {
      const page = (wire.from + k) / PAGE;
      this.#pages.delete(page);
      this.#pages.set(page, { from: wire.from + k, rows: rows.slice(k, k + PAGE) });
    }
    for (const page of this.#pages.keys()) {
      if (this.#pages.size <= KEPT) break;
      this.#pages.delete(page);
    }
    return true;
  }

  /** The features of a stretch of rows; null where some are not there. */
  features(from: number, to: number): number[] | null {
    const found: number[] = [];
    for (let i = from; i < to; i++) {
      const row = this.at(i);
      if (!row) return null;
      found.push(row.feature);
    }
    return found;
  }
}
