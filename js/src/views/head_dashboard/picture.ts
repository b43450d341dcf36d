/**
 * A text as a head reads it. In: the packed matrices, and which of them counts. Out: who reads whom, and how strongly, in
 * the order in which it is told. Pure.
 */
import { decodeFloats } from "../../core/codec.js";
import type { By, WireAttention } from "./synced.js";

export interface Reading {
  pieces: readonly string[];
  kinds: readonly number[];
  n: number;
  values: Float32Array; // [query, key]
  by: By;
  approximate: boolean;
  most: number;
  out: Float32Array; // of each token as a key: the most that a later one reads of it
  into: Float32Array; // of each token as a query: the most that it reads
  notice: string;
}

export const UNIT: Record<By, string> = { written: "‖A·v·W_O‖", pattern: "A" };

export function readAttention(wire: Partial<WireAttention>, by: By): Reading | null {
  if (!wire.pieces || !wire.written || !wire.pattern) return null;
  const n = wire.pieces.length;
  const packed = wire[by] ?? wire.written;
  const values = decodeFloats(packed, by);
  if (values.length !== n * n) throw new Error(`${by} has ${values.length} entries; ${n} tokens need ${n * n}`);
  const [out, into] = [new Float32Array(n), new Float32Array(n)];
  let most = 0;
  for (let q = 0; q < n; q++) {
    for (let k = 0; k <= q; k++) {
      const v = values[q * n + k] ?? 0;
      if (v > (out[k] ?? 0)) out[k] = v;
      if (v > (into[q] ?? 0)) into[q] = v;
      if (v > most) most = v;
    }
  }
  return { pieces: wire.pieces, kinds: wire.kinds ?? [], n, values, by, approximate: packed.dtype === "q8", most, out, into, notice: wire.notice ?? "" };
}

export const at = (reading: Reading, query: number, key: number): number => reading.values[query * reading.n + key] ?? 0;

/** The tokens that one reads most, or that read it most. */
export function strongest(reading: Reading, token: number, which: "reads" | "readers", most: number): [token: number, value: number][] {
  const found: [number, number][] = [];
  for (let other = which === "reads" ? 0 : token; other < (which === "reads" ? token + 1 : reading.n); other++) {
    found.push([other, which === "reads" ? at(reading, token, other) : at(reading, other, token)]);
  }
  return found.filter(([, v]) => v > 0).sort((a, b) => b[1] - a[1]).slice(0, most);
}
