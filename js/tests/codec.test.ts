// The golden files are shared with the Python half: tests/golden/codec.json and codec.bin.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { type Packed, decodeFloats, decodeInts } from "../src/core/codec.js";
import { pack } from "./helpers.js";

interface Golden {
  name: string;
  dtype: Packed["dtype"];
  shape: number[];
  lo?: number;
  hi?: number;
  offset: number;
  length: number;
  values: (number | string | null)[];
}

const folder = join(import.meta.dirname, "..", "..", "tests", "golden");
const cases = JSON.parse(readFileSync(join(folder, "codec.json"), "utf8")) as Golden[];
const bytes = new Uint8Array(readFileSync(join(folder, "codec.bin")));

const number = (value: number | string | null): number =>
  value === null ? NaN : value === "inf" ? Infinity : value === "-inf" ? -Infinity : Number(value);

describe("golden files", () => {
  test("there are cases of every dtype, some at odd offsets", () => {
    expect(new Set(cases.map(({ dtype }) => dtype))).toEqual(new Set(["f32", "i32", "u8", "q8"]));
    expect(cases.some(({ offset }) => offset % 4 !== 0)).toBe(true);
  });

  test.each(cases)("$name", ({ dtype, shape, lo, hi, offset, length, values }) => {
    const data = new DataView(bytes.buffer, bytes.byteOffset + offset, length);
    const packed: Packed = { dtype, shape, data, ...(lo !== undefined && { lo }), ...(hi !== undefined && { hi }) };
    const integers = dtype === "i32" || dtype === "u8";
    const got = [...(integers ? decodeInts(packed) : decodeFloats(packed))];
    expect(got).toHaveLength(values.length);
    values.map(number).forEach((want, i) => {
      const value = got[i] ?? 0;
      if (Number.isNaN(want)) expect(value).toBeNaN();
      else if (dtype === "q8") expect(Math.abs(value - want)).toBeLessThanOrEqual(1e-6 * Math.abs((hi ?? 0) - (lo ?? 0)));
      else expect(value).toBe(dtype === "f32" ? Math.fround(want) : want);
    });
  });
});

test("a buffer of the wrong size is an error that names both sizes", () => {
  expect(() => decodeFloats({ ...pack("f32", [1, 2]), shape: [3] }, "values")).toThrow(/values: f32 of shape \[3\] needs 12 bytes, got 8/);
});

test("an unknown dtype, a missing buffer, and q8 without a range are errors", () => {
  expect(() => decodeFloats({ ...pack("f32", []), dtype: "f64" as "f32" })).toThrow(/unknown dtype "f64"/);
  expect(() => decodeFloats({ dtype: "f32", shape: [1], data: 3 as unknown as string })).toThrow(/not a buffer/);
  expect(() => decodeFloats(pack("q8", [1]))).toThrow(/lo and hi/);
});

test("typed arrays and array buffers are read like data views", () => {
  expect([...decodeInts({ dtype: "u8", shape: [2], data: new Uint8Array([0, 7, 9]).subarray(1) })]).toEqual([7, 9]);
  expect([...decodeInts({ dtype: "u8", shape: [1], data: new Uint8Array([5]).buffer })]).toEqual([5]);
});
