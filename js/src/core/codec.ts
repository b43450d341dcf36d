/**
 * Packed arrays, the one binary format between kernel and browser (its other half is `views/codec.py`; both are
 * tested against the same golden files). In: `{dtype, shape, data, lo?, hi?}` with a buffer that may start at any
 * byte, or a base64 string from hosts that have no binary messages. Out: a typed array of our own, in C order; a code 255 of "q8" comes out as NaN.
 */

export interface Packed {
  dtype: "f32" | "i32" | "u8" | "q8";
  shape: number[];
  data: ArrayBuffer | ArrayBufferView | string;
  lo?: number;
  hi?: number;
}

const WIDTH = { f32: 4, i32: 4, u8: 1, q8: 1 } as const;
const MISSING = 255;
const LEVELS = 254;

function fromBase64(text: string, what: string): Uint8Array {
  try {
    return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  } catch {
    throw new Error(`${what}: data is a text that is not base64`);
  }
}

function view(packed: Packed, what: string): { bytes: DataView; n: number } {
  const width: number | undefined = (WIDTH as Record<string, number>)[packed.dtype];
  if (width === undefined) throw new Error(`${what}: unknown dtype ${JSON.stringify(packed.dtype)}`);
  const data = typeof packed.data === "string" ? fromBase64(packed.data, what) : packed.data;
  const bytes = ArrayBuffer.isView(data)
    ? new DataView(data.buffer, data.byteOffset, data.byteLength)
    : data instanceof ArrayBuffer
      ? new DataView(data)
      : null;
  if (bytes === null) throw new Error(`${what}: data is not a buffer`);
  const n = packed.shape.reduce((product, size) => product * size, 1);
  if (bytes.byteLength !== n * width) {
    throw new Error(
      `${what}: ${packed.dtype} of shape [${packed.shape.join(", ")}] needs ${n * width} bytes, got ${bytes.byteLength}`,
    );
  }
  return { bytes, n };
}

/** f32 or q8 -> floats; NaN is "missing". */
export function decodeFloats(packed: Packed, what = "array"): Float32Array {
  const { bytes, n } = view(packed, what);
  const out = new Float32Array(n);
  if (packed.dtype === "f32") {
    for (let i = 0; i < n; i++) out[i] = bytes.getFloat32(4 * i, true);
  } else if (packed.dtype === "q8") {
    const { codes, levels } = codesOf(packed, what);
    for (let i = 0; i < n; i++) out[i] = levels[codes[i] ?? MISSING] ?? NaN;
  } else {
    throw new Error(`${what}: expected f32 or q8, got ${packed.dtype}`);
  }
  return out;
}

/** q8 -> its codes, copied, and what each of the 256 stands for (NaN: missing). */
export function codesOf(packed: Packed, what = "array"): { codes: Uint8Array; levels: Float32Array } {
  const { bytes } = view(packed, what);
  const { lo, hi } = packed;
  if (packed.dtype !== "q8") throw new Error(`${what}: expected q8, got ${packed.dtype}`);
  if (lo === undefined || hi === undefined) throw new Error(`${what}: q8 needs lo and hi`);
  const levels = Float32Array.from({ length: 256 }, (_, code) => (code === MISSING ? NaN : lo + ((hi - lo) * code) / LEVELS));
  return { codes: new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength).slice(), levels };
}

/** i32 or u8 -> integers. */
export function decodeInts(packed: Packed, what = "array"): Int32Array {
  const { bytes, n } = view(packed, what);
  const out = new Int32Array(n);
  if (packed.dtype === "i32") {
    for (let i = 0; i < n; i++) out[i] = bytes.getInt32(4 * i, true);
  } else if (packed.dtype === "u8") {
    for (let i = 0; i < n; i++) out[i] = bytes.getUint8(i);
  } else {
    throw new Error(`${what}: expected i32 or u8, got ${packed.dtype}`);
  }
  return out;
}
