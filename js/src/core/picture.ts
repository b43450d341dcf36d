/**
 * From the frame on the wire to the picture in memory. In: the `frame` trait. Out: typed arrays checked against each
 * other, per row its colour domain and how many tokens are masked, missing or clipped; a frame that contradicts itself
 * is an error with a message, never a half-drawn picture. Pure.
 */
import { decodeFloats, decodeInts } from "./codec.js";
import { type Shade, shade } from "./colour.js";
import type { WireFrame, WireRow, WireSequence } from "./protocol.js";
import { Values } from "./values.js";

/** How rows share the colours: each its own range, one for all, or each its own up to a high quantile. */
export type Scale = "row" | "shared" | "robust";

export interface Top {
  ids: Int32Array;
  logprobs: Float32Array;
  width: number; // candidates per token
  pieces: Record<string, string>;
}

export interface Sequence {
  pieces: readonly string[];
  kinds: Int32Array;
  ids: Int32Array | null;
  masked: Int32Array | null;
  maskedCount: number;
  logprobs: Float32Array | null;
  entropy: Float32Array | null;
  top: Top | null;
  aligned: Int32Array | null; // the corresponding token of the other text, or -1
}

export interface Row {
  label: string;
  feature: number | null;
  key: string;
  id: string;
  locked: boolean;
  seq: Sequence;
  values: Values;
  tolerance: number; // half a step of that
  signed: boolean;
  ownDomain: readonly [number, number];
  robust: number; // where the robust scale ends
  domain: readonly [number, number]; // what is drawn: own, or shared by all rows
  masked: number;
  missing: number;
  clipped: number;
  shadeOf: (value: number) => Shade;
  shadeAt: (i: number) => Shade;
}

export interface Picture extends Omit<WireFrame, "seqs" | "rows" | "locked" | "source" | "compare" | "across"> {
  locked: string[];
  source: string; // what the rows that are not locked are of
  compare: string;
  across: boolean;
  seqs: Sequence[];
  rows: Row[];
}

const ZERO: Shade = { name: "", clipped: false };

function sized<A extends { length: number }>(array: A, n: number, what: string): A {
  if (array.length !== n) throw new Error(`${what} has ${array.length} entries for ${n} tokens`);
  return array;
}

function readSequence(wire: WireSequence, name: string): Sequence {
  const n = wire.pieces.length;
  const floats = (key: "logprobs" | "entropy"): Float32Array | null =>
    wire[key] && sized(decodeFloats(wire[key], `${name}.${key}`), n, `${name}.${key}`);
  const ints = (key: "ids" | "masked" | "aligned"): Int32Array | null =>
    wire[key] ? sized(decodeInts(wire[key], `${name}.${key}`), n, `${name}.${key}`) : null;
  let top: Top | null = null;
  if (wire.top) {
    const width = wire.top.ids.shape[1] ?? 0;
    top = {
      width,
      ids: sized(decodeInts(wire.top.ids, `${name}.top.ids`), n * width, `${name}.top.ids`),
      logprobs: sized(decodeFloats(wire.top.logprobs, `${name}.top.logprobs`), n * width, `${name}.top.logprobs`),
      pieces: wire.top.pieces,
    };
  }
  const masked = ints("masked");
  return {
    pieces: wire.pieces,
    kinds: sized(decodeInts(wire.kinds, `${name}.kinds`), n, `${name}.kinds`),
    ids: ints("ids"),
    masked,
    maskedCount: masked?.reduce((sum, bits) => sum + (bits ? 1 : 0), 0) ?? 0,
    logprobs: floats("logprobs"),
    entropy: floats("entropy"),
    top,
    aligned: ints("aligned"),
  };
}

function readRow(wire: WireRow, seqs: Sequence[], name: string): Row {
  const seq = seqs[wire.seq];
  if (!seq) throw new Error(`${name} names sequence ${wire.seq}, of ${seqs.length}`);
  const { values: packed, domain } = wire;
  const values = sized(new Values(packed, `${name}.values`), seq.pieces.length, `${name}.values`);
  const step = values.approximate ? ((packed.hi ?? 0) - (packed.lo ?? 0)) / 254 : 0;
  return {
    label: wire.label,
    feature: wire.feature,
    key: wire.key ?? "",
    id: wire.id ?? "",
    locked: wire.locked ?? false,
    seq,
    values,
    tolerance: Math.max(step / 2, 1e-6 * Math.max(Math.abs(domain[0]), Math.abs(domain[1]))),
    signed: wire.signed,
    ownDomain: domain,
    robust: wire.robust ?? Math.max(Math.abs(domain[0]), Math.abs(domain[1])),
    domain,
    masked: seq.maskedCount,
    missing: values.count(Number.isNaN),
    clipped: 0,
    shadeOf: () => ZERO,
    shadeAt: () => ZERO,
  };
}

/** Gives every row the domain it is drawn with, and counts what lies beyond. */
export function scaleRows(rows: Row[], scale: Scale): void {
  const reach = Math.max(0, ...rows.flatMap((row) => row.ownDomain.map(Math.abs)));
  for (const row of rows) {
    const end = scale === "shared" ? reach : row.robust;
    row.domain = scale === "row" ? row.ownDomain : [row.signed ? -end : 0, end];
    const { domain, signed, tolerance, values } = row;
    row.shadeOf = (value) => shade(value, domain, signed, tolerance);
    row.shadeAt = values.map(row.shadeOf);
    const [lo, hi] = domain;
    row.clipped = values.count((value) => value > hi + tolerance || value < lo - tolerance);
  }
}

/** The picture of a frame; null where the frame is still empty. */
export function readFrame(frame: Partial<WireFrame> | null | undefined, scale: Scale): Picture | null {
  if (!frame?.rows || !frame.seqs) return null;
  const seqs = frame.seqs.map((seq, i) => readSequence(seq, `seqs[${i}]`));
  const rows = frame.rows.map((row, i) => readRow(row, seqs, `rows[${i}]`));
  scaleRows(rows, scale);
  const { id = 0, view = "", text = "", site = "", layer = 0, features = [], locked = [], source = "", compare = "", across = false, notice = null } = frame;
  return { id, view, text, site, layer, features, locked, source, compare, across, notice, seqs, rows };
}

/** All tokens of the picture, counted once per sequence. */
export const tokenCount = (picture: Picture): number => picture.seqs.reduce((sum, seq) => sum + seq.pieces.length, 0);
