// The stand-in for a kernel of a static site: what it finds, how it sorts, what it refuses, how it brings a page.
import { afterEach, describe, expect, test, vi } from "vitest";
import { decodeFloats, decodeInts } from "../src/core/codec.js";
import { type SiteTable, createKernel, find, windowOf } from "../src/site/kernel.js";

const TABLE: SiteTable = {
  features: [3, 5, 9],
  numbers: { density: [0.1, null, 0.4], max: [2, 1, 7], count: [10, 0, 40], not_finite: [0, 3, 0] },
  lists: { promoted_by: [[2, 1], [1, 0.5], [4, 3]] },
  ids: { top_token: [1, -1, 2] },
  idLists: { promoted: [[1, 2], [2, 3], [3, 1]] },
  pieces: { "1": " a", "2": " b", "3": "c" },
  tokens: [[[1, 0.5, 0.25]], [], [[2, 1, 1], [1, 0.1, 0.2]]],
  said: { "5": { explanation: "Things in Hebrew", author: "x", score: 0.5, more: 0, rating: 4, note: "", lists: ["mine"] } },
  chunk: 2,
};
const rows = (...given: Parameters<typeof find> extends [unknown, ...infer R] ? R : never): number[] => find(TABLE, ...given).rows.map((row) => TABLE.features[row] ?? -1);

afterEach(() => {
  vi.useRealTimers();
});

describe("find", () => {
  test("sorts by any column, features without a value last either way", () => {
    expect(rows({}, "", true, [])).toEqual([9, 3, 5]); // the density
    expect(rows({}, "density", false, [])).toEqual([3, 9, 5]);
    expect(rows({}, "max", false, [])).toEqual([5, 3, 9]);
    expect(rows({}, "feature", true, [])).toEqual([9, 5, 3]);
    expect(rows({}, "explanation", true, [])).toEqual([5, 3, 9]);
    expect(rows({}, "top_token", false, [])).toEqual([3, 9, 5]);
    expect(rows({}, "promoted", true, [])).toEqual([9, 3, 5]);
  });

  test("filters by each condition", () => {
    expect(rows({ explanation: "hebrew things" }, "", true, [])).toEqual([5]);
    expect(rows({ token: " a" }, "", true, [])).toEqual([3, 9]); // by share
    expect(rows({ logit: "c" }, "", true, [])).toEqual([9, 5]); // by logit
    expect(rows({ density: [0.2, 1] }, "", true, [])).toEqual([9]);
    expect(rows({ flags: ["not finite"] }, "", true, [])).toEqual([5]);
    expect(rows({ without: ["not finite"] }, "", true, [])).toEqual([9, 3]);
    expect(rows({ list: "mine" }, "", true, [])).toEqual([5]);
    expect(rows({ rating: [4, 5] }, "", true, [])).toEqual([5]);
    expect(rows({}, "", true, [3, 5])).toEqual([3, 5]);
    expect(() => rows({ prompt: "x" }, "", true, [])).toThrow("needs a notebook");
  });

  test("rows on the wire are those of the result", () => {
    const found = find(TABLE, { token: " a" }, "", true, []);
    const wire = windowOf(TABLE, found, 0, 10);
    expect([...decodeInts(wire.features)]).toEqual([3, 9]);
    expect([...decodeFloats(wire.numbers.max ?? { dtype: "f32", shape: [0], data: "" })]).toEqual([2, 7]);
    expect([...decodeFloats(wire.numbers.share ?? { dtype: "f32", shape: [0], data: "" })].map((x) => Math.round(100 * x))).toEqual([50, 10]);
    expect(wire.tokens.promoted?.shape).toEqual([2, 2]);
    const nan = windowOf(TABLE, find(TABLE, {}, "", true, []), 2, 3);
    expect(decodeFloats(nan.numbers.density ?? { dtype: "f32", shape: [0], data: "" })[0]).toBeNaN();
  });
});

class Model {
  readonly heard = new Map<string, Set<(message: unknown) => void>>();
  readonly answers: Record<string, unknown>[] = [];
  constructor(readonly state: Record<string, unknown>) {
    this.heard.set("msg:custom", new Set([(message) => this.answers.push(message as Record<string, unknown>)]));
  }
  get = (name: string): unknown => this.state[name];
  set = (name: string, value: unknown): void => {
    this.state[name] = value;
  };
  save_changes = (): void => undefined;
  send = (): void => undefined;
  on = (): void => undefined;
  off = (): void => undefined;
}

describe("the kernel", () => {
  test("brings a page from its file, once for each file", async () => {
    vi.useFakeTimers();
    const files: string[] = [];
    const kernel = createKernel(TABLE, (file) => {
      files.push(file);
      const page = (feature: number): object => ({ feature, name: `m/${feature}`, said: { lists: [] } });
      (globalThis as unknown as { ngPages: (k: number, chunk: object) => void }).ngPages(Number(/\d+/.exec(file)?.[0]), { pages: [page(3), page(5)], pieces: ["x"], kinds: [0] });
    });
    const model = new Model({ feature: "m/5", base: "m/" });
    kernel(model as never, { view: "v", id: 1, kind: "run", feature: 3 });
    await vi.runAllTimersAsync();
    expect(model.state.frame).toMatchObject({ feature: 3, pieces: ["x"], view: "v", id: 1 });
    expect(model.state.feature).toBe("m/3");
    kernel(model as never, { view: "v", id: 2, kind: "run", feature: 5 });
    await vi.runAllTimersAsync();
    expect(files).toEqual(["pages/0.js"]);
    expect(model.answers.map(({ id, error }) => [id, error])).toEqual([[1, undefined], [2, undefined]]);
  });

  test("refuses what the site does not have, with words", async () => {
    vi.useFakeTimers();
    const kernel = createKernel(TABLE, (_, failed) => failed());
    const model = new Model({ feature: "m/5", base: "m/" });
    kernel(model as never, { view: "v", id: 1, kind: "run", feature: 4 });
    kernel(model as never, { view: "v", id: 2, kind: "run", feature: 9 });
    kernel(model as never, { view: "v", id: 3, kind: "rate", features: [3], value: 1 });
    await vi.runAllTimersAsync();
    const said = (wanted: number): string => (model.answers.find(({ id }) => id === wanted)?.error as { message: string }).message;
    expect(said(1)).toContain("no page of feature 4");
    expect(said(2)).toContain("pages/1.js");
    expect(said(3)).toContain("saved site");
  });

  test("a new search of the table draws and answers; its rows belong to it", async () => {
    vi.useFakeTimers();
    const kernel = createKernel(TABLE, () => undefined);
    const model = new Model({ columns: [], query: {}, sort: "", descending: true, subset: [], frame: { result: 4 }, feature: "", base: "m/" });
    kernel(model as never, { view: "v", id: 1, kind: "hello" });
    kernel(model as never, { view: "v", id: 2, kind: "run", sort: "max" });
    kernel(model as never, { view: "v", id: 3, kind: "rows", from: 1, to: 2 });
    kernel(model as never, { view: "v", id: 4, kind: "place", feature: 5 });
    await vi.runAllTimersAsync();
    expect(model.state.frame).toMatchObject({ result: 5, total: 3, sort: "max" });
    expect(model.answers.find(({ id }) => id === 3)).toMatchObject({ result: 5, from: 1 });
    expect(model.answers.find(({ id }) => id === 4)).toMatchObject({ row: 2 });
  });
});
