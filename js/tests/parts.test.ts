// Parts that the heatmap is made of: values as bytes, finding, one text for many rows, two texts, options.
import { afterEach, describe, expect, test } from "vitest";
import { Finder } from "../src/core/find.js";
import { readFrame } from "../src/core/picture.js";
import { Values } from "../src/core/values.js";
import { arranged } from "../src/views/heatmap/options.js";
import { FakeModel, type Mounted, frame, key, mount, mountLive, pack, row, seq, type } from "./helpers.js";

let m: Mounted | null = null;
afterEach(() => {
  m?.end();
  m = null;
  document.body.replaceChildren();
});
const text = (): string => m?.$(".ng-tokens").textContent ?? "";
const classes = (i: number): string => m?.$(`.ng-tok[data-i="${i}"]`).className ?? "";

describe("values", () => {
  const exact = [0, -2, NaN, 4, 1];
  const codes = { ...pack("u8", [127, 0, 255, 254, 190]), dtype: "q8" as const, lo: -4, hi: 4 };

  test("bytes mean what floats mean", () => {
    const values = new Values(codes, "v");
    expect(values.length).toBe(5);
    expect(values.approximate).toBe(true);
    expect(values.at(0)).toBe(0);
    expect(values.at(1)).toBe(-4);
    expect(values.at(2)).toBeNaN();
    expect(values.at(3)).toBe(4);
    expect(values.at(4)).toBeCloseTo(1.984, 3);
    expect(values.at(99)).toBeNaN();
  });

  test.each([
    ["floats", new Values(pack("f32", exact), "v")],
    ["bytes", new Values(codes, "v")],
  ])("counts and maps of %s equal those taken token by token", (_, values) => {
    const all = Array.from({ length: values.length }, (_unused, i) => values.at(i));
    expect(values.count(Number.isNaN)).toBe(1);
    expect(values.count((v) => v > 0.5)).toBe(all.filter((v) => v > 0.5).length);
    const doubled = values.map((v) => 2 * v);
    expect(all.map((_unused, i) => doubled(i))).toEqual(all.map((v) => 2 * v));
  });

  test("peaks are the largest by size of each stretch, and NaN where there is nothing", () => {
    const values = new Values(pack("f32", [1, -3, 2, NaN, NaN, 5]), "v");
    expect([...values.peaks(3)]).toEqual([-3, 2, 5]);
    expect([...values.peaks(6)]).toEqual([1, -3, 2, NaN, NaN, 5]);
    expect([...new Values(pack("f32", [1, 2]), "v").peaks(4)]).toEqual([1, 1, 2, 2]);
  });

  test("a quantised row without its ends is refused", () => {
    expect(() => new Values({ ...pack("u8", [1]), dtype: "q8" }, "rows[0]")).toThrow("rows[0]: q8 needs lo and hi");
  });
});

describe("finding", () => {
  const finder = new Finder(["The", " cat", " sat", " on the", " CATalogue"]);

  test("places are tokens, across their edges; small letters find capitals", () => {
    expect(finder.hits("cat")).toEqual([[1, 1], [4, 4]]);
    expect(finder.hits("Cat")).toEqual([]);
    expect(finder.hits("t s")).toEqual([[1, 2]]);
    expect(finder.hits("the")).toEqual([[0, 0], [3, 3]]);
    expect(finder.hits("e cat sat on")).toEqual([[0, 3]]);
    expect(finder.hits("")).toEqual([]);
    expect(finder.hits("dog")).toEqual([]);
  });

  test("letters that grow when made small do not shift what follows", () => {
    expect(new Finder(["İstanbul", " x", "y"]).hits("y")).toEqual([[2, 2]]);
  });

  test("every place in the text equals a search of the whole string", () => {
    const pieces = Array.from({ length: 500 }, (_, i) => ["ab", "a", " ba", "bab"][(i * 7) % 4] ?? "");
    const whole = pieces.join("");
    const starts = pieces.map((_, i) => pieces.slice(0, i).join("").length);
    const tokenAt = (place: number): number => starts.filter((start) => start <= place).length - 1;
    const want: [number, number][] = [];
    for (let at = whole.indexOf("ba"); at >= 0; at = whole.indexOf("ba", at + 2)) want.push([tokenAt(at), tokenAt(at + 1)]);
    expect(new Finder(pieces).hits("ba")).toEqual(want);
  });
});

const long = Array.from({ length: 60 }, (_, i) => ` w${i}`);
const many = (rows: number): ReturnType<typeof frame> =>
  frame(long, Array.from({ length: rows }, (_, r) => row(long.map((_unused, i) => (i === r ? 1 : 0)), { label: `row ${r}`, feature: r })));

describe("one text for all rows", () => {
  test("is chosen by itself where the rows would be many", () => {
    const few = readFrame(many(2), "row");
    expect(arranged("auto", few)).toBe("rows");
    expect(arranged("one", few)).toBe("one");
    const big = readFrame(many(400), "row");
    expect(arranged("auto", big)).toBe("one");
    expect(arranged("rows", big)).toBe("rows");
    expect(arranged("auto", null)).toBe("rows");
  });

  test("is coloured by the row whose label is pressed", () => {
    m = mount({ frame: many(3), arrange: "one" });
    expect(m.$$(".ng-tokens")).toHaveLength(1);
    expect(m.$$(".ng-row")).toHaveLength(3);
    expect(classes(0)).toContain("ng-p32");
    m.$$("button.ng-row-label")[2]?.click();
    expect(m.$$("button.ng-row-label").map((label) => label.getAttribute("aria-pressed"))).toEqual(["false", "false", "true"]);
    expect(classes(0)).not.toContain("ng-p");
    expect(classes(2)).toContain("ng-p32");
  });

  test("a click selects in the row that colours; up and down go through the rows", () => {
    m = mount({ frame: many(3), arrange: "one" });
    m.$$("button.ng-row-label")[1]?.click();
    m.$('.ng-tok[data-i="5"]').click();
    expect(m.model.get("selected")).toEqual([1, 5]);
    expect(m.model.get("token")).toBe(5);
    key(m.$(".ng-tokens"), "ArrowDown");
    expect(m.$(".ng-chosen").dataset.row).toBe("2");
    m.model.set("selected", [0, 7]);
    expect(m.$(".ng-chosen").dataset.row).toBe("0");
    expect(classes(7)).toContain("ng-sel");
  });

  test("the button changes the arrangement, in the trait too", () => {
    m = mount({ frame: many(3) });
    expect(m.$$(".ng-tokens")).toHaveLength(3);
    m.$(".ng-arrange").click();
    expect(m.model.get("arrange")).toBe("one");
    expect(m.$$(".ng-tokens")).toHaveLength(1);
    m.$(".ng-arrange").click();
    expect(m.$$(".ng-tokens")).toHaveLength(3);
  });
});

describe("options", () => {
  test("offer what makes a difference", () => {
    m = mount({ frame: frame(["a", " b"], [row([1, 2])]) });
    expect(m.$(".ng-options").hidden).toBe(true);
    m.model.set("frame", frame(["a\n", " b"], [row([1, 2])]));
    expect(m.$(".ng-options").hidden).toBe(false);
    expect(m.$(".ng-wrap").hidden).toBe(false);
    expect(m.$(".ng-arrange").hidden).toBe(true);
  });

  test("line breaks can be marks only; the text stays", () => {
    m = mount({ frame: frame(["a\n", " b"], [row([1, 2])]) });
    m.$(".ng-wrap").click();
    expect(m.model.get("wrap")).toBe(false);
    expect(m.$(".ng-rows").classList.contains("ng-flat")).toBe(true);
    expect(text()).toBe("a\n b");
  });

  test("the robust scale ends where the frame says, and marks what lies beyond", () => {
    m = mount({ frame: frame(["a", "b", "c"], [row([1, 2, 100], { robust: 2 })]), scale: "robust" });
    expect(m.$$(".ng-end").map((end) => end.textContent)).toEqual(["0", "2"]);
    expect(m.$(".ng-tally-clipped").textContent).toBe("1 clipped");
    expect(classes(2)).toContain("ng-clip");
    m.model.set("scale", "row");
    expect(classes(2)).not.toContain("ng-clip");
  });

  test("found places are marked, counted, and stepped through", () => {
    m = mount({ frame: many(2) });
    type(m.$(".ng-find"), "w5");
    expect(m.$(".ng-count").textContent).toBe("1 of 11");
    expect(classes(5)).toContain("ng-hit-now");
    expect(classes(50)).toContain("ng-hit");
    key(m.$(".ng-find"), "Enter");
    expect(m.$(".ng-count").textContent).toBe("2 of 11");
    expect(classes(50)).toContain("ng-hit-now");
    m.$('[aria-label="previous place"]').click();
    m.$('[aria-label="previous place"]').click();
    expect(m.$(".ng-count").textContent).toBe("11 of 11");
    type(m.$(".ng-find"), "nowhere");
    expect(m.$(".ng-count").textContent).toBe("not found");
    key(m.$(".ng-find"), "Escape");
    expect(m.$(".ng-count").textContent).toBe("");
    expect(m.$$(".ng-hit, .ng-hit-now")).toHaveLength(0);
  });
});

describe("two texts", () => {
  const two = frame(
    [],
    [row([1, 2, 3]), row([1, 5], { label: "second", key: "", seq: 1 }), row([0, NaN], { label: "difference", key: "", seq: 1, signed: true })],
    {
      compare: "a x",
      seqs: [seq(["a", " b", " c"], { aligned: pack("i32", [0, -1, -1]) }), seq(["a", " x"], { aligned: pack("i32", [0, -1]) })],
    },
  );

  test("tokens without a counterpart are marked; the counterpart of the selected one is outlined", () => {
    m = mount({ frame: two });
    const marked = m.$$(".ng-changed").map((token) => token.textContent);
    expect(marked).toEqual([" b", " c", " x", " x"]);
    m.$('.ng-row[data-row="0"] .ng-tok[data-i="0"]').click();
    expect(m.$$(".ng-twin").map((token) => token.closest<HTMLElement>(".ng-row")?.dataset.row)).toEqual(["1", "2"]);
  });

  test("rows of the second text are not rows that can be kept or removed", () => {
    m = mountLive({ frame: two, compare: "a x", text: "a b c" });
    expect(m.$$(".ng-row-lock").map((lock) => lock.hidden)).toEqual([false, true, true]);
    m.$(".ng-row-lock").click();
    expect(m.model.last("run")).toMatchObject({ locked: ["neurons.10/77"], features: [], compare: "a x" });
  });

  test("a comparison begins with a copy and is edited in a field of its own", () => {
    m = mountLive({ frame: frame(["a"], [row([1])], { text: "a" }), text: "a" });
    m.$(".ng-compare").click();
    expect(m.model.last("run")).toMatchObject({ text: "a", compare: "a" });
    m.model.reply(m.model.last("run"), { seq: 1, done: true });
    type(m.$('[aria-label="second text"]'), "ab");
    expect(m.model.last("run")).toMatchObject({ text: "a", compare: "ab" });
    m.model.reply(m.model.last("run"), { seq: 1, done: true });
    m.$(".ng-compare").click();
    expect(m.model.last("run").compare).toBe("");
  });
});

test("every layer is asked for, and its rows are not ours to order", () => {
  m = mountLive({ frame: frame(["a"], [row([1]), row([2], { label: "neurons.11 / 77", key: "neurons.11/77" })], { across: true }), across: true });
  expect(m.$(".ng-across").getAttribute("aria-pressed")).toBe("true");
  expect(m.$$(".ng-row-remove").every((remove) => remove.hidden)).toBe(true);
  m.$$(".ng-row-lock")[1]?.click();
  expect(m.model.last("run")).toMatchObject({ across: true, features: [77], locked: ["neurons.11/77"] });
  m.model.reply(m.model.last("run"), { seq: 1, done: true });
  m.$(".ng-across").click();
  expect(m.model.last("run").across).toBe(false);
});

test("a token that a link moves is selected in the row that was", () => {
  m = mount({ frame: many(2), selected: [1, 3] });
  m.model.set("token", 9);
  expect(m.model.get("selected")).toEqual([1, 9]);
  m.model.set("token", 9_999); // a linked text may be longer
  expect(m.model.get("selected")).toEqual([1, 9]);
  m.model.set("token", null);
  expect(m.model.get("selected")).toBeNull();
  expect(m.model).toBeInstanceOf(FakeModel);
});
