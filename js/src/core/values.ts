/**
 * The values of one row, one per token: exact floats, or one byte each. In: a packed array. Out: a value by position, and
 * for quantised rows everything that is asked of all tokens (how many are missing, where the peaks are) from tables of
 * 256 entries instead of arithmetic per token.
 */
import { type Packed, codesOf, decodeFloats } from "./codec.js";

export class Values {
  readonly length: number;
  readonly approximate: boolean;
  readonly #floats: Float32Array; // by position; of a quantised row by code
  readonly #codes: Uint8Array | null;
  #counts: Uint32Array | null = null;

  constructor(packed: Packed, what: string) {
    this.approximate = packed.dtype === "q8";
    if (this.approximate) {
      const { codes, levels } = codesOf(packed, what);
      this.#codes = codes;
      this.#floats = levels;
      this.length = codes.length;
    } else {
      this.#codes = null;
      this.#floats = decodeFloats(packed, what);
      this.length = this.#floats.length;
    }
  }

  /** NaN where there is no value. */
  at(i: number): number {
    return this.#floats[this.#codes ? (this.#codes[i] ?? 255) : i] ?? NaN;
  }

  /** One result for each value that occurs: `of(value)` is asked once per code or once per token. */
  map<R>(of: (value: number) => R): (i: number) => R {
    const codes = this.#codes;
    if (!codes) return (i) => of(this.at(i));
    const table = Array.from(this.#floats, of);
    const missing = of(NaN);
    return (i) => table[codes[i] ?? 255] ?? missing;
  }

  /** How many tokens have a value like this. */
  count(like: (value: number) => boolean): number {
    const floats = this.#floats;
    if (!this.#codes) return floats.reduce((sum, value) => sum + (like(value) ? 1 : 0), 0);
    const counts = this.#tally(this.#codes);
    return floats.reduce((sum, value, code) => sum + (counts[code] && like(value) ? counts[code] : 0), 0);
  }

  #tally(codes: Uint8Array): Uint32Array {
    if (this.#counts) return this.#counts;
    const counts = (this.#counts = new Uint32Array(256));
    for (const code of codes) counts[code] = (counts[code] ?? 0) + 1;
    return counts;
  }

  /** The value largest by size in each of `bins` equal stretches of tokens; NaN where a stretch has none. */
  peaks(bins: number): Float32Array {
    const out = new Float32Array(bins).fill(NaN);
    const sizes = this.#floats.map(Math.abs);
    const n = this.length;
    for (let bin = 0; bin < bins; bin++) {
      const end = Math.max(Math.ceil(((bin + 1) * n) / bins), Math.floor((bin * n) / bins) + 1);
      let best = -1;
      for (let i = Math.floor((bin * n) / bins); i < end && i < n; i++) {
        const at = this.#codes ? (this.#codes[i] ?? 255) : i;
        const size = sizes[at] ?? NaN;
        if (size > best) {
          best = size;
          out[bin] = this.#floats[at] ?? NaN;
        }
      }
    }
    return out;
  }
}
