// A head's page with a kernel that the test plays: pairs, numbers, the grid of heads, the text of one's own.
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { PAPER, contrast, luminance, parse } from "../src/core/colour.js";
import head from "../src/views/head_dashboard/index.js";
import { LEVELS, mixClass, mixCss, mixed } from "../src/views/head_dashboard/mix.js";
import { readAttention, strongest } from "../src/views/head_dashboard/picture.js";
import type { Traits, WireAttention, WireHead, WirePair } from "../src/views/head_dashboard/synced.js";
import { type Mounted, VERSION, greet, key, mountView, pack, type } from "./helpers.js";

const PAIR: WirePair = { pieces: ["a", " <b>key</b>", " c", " the", "\n", " end"], kinds: [0, 0, 0, 0, 0, 1], query: 3, key: 1, gap: 5, cut: 2, document: 4, value: 1.25, distance: 7 };

function frame(more: Partial<WireHead> = {}): WireHead {
  return {
    head: [0, 1], heads: [[0, 0, 2], [0, 1, 4], [0, 3, null]], size: [1, 4], tokens: 8320,
    summary: {
      top: 30, random: 1, max: 4, mean: 0.5, mean_error: null, distance: 1, itself: 0, previous: 0.9, first: 0.05,
      keys: [[" <i>the", 3]], queries: [], reach: { labels: ["0 (itself)", "1", "2"], top: [0, 27, 3], random: [1, 0, 0] },
    },
    pairs: { top: [PAIR, { ...PAIR, query: 1, gap: 0, distance: 0 }], random: [PAIR] },
    ...more,
  };
}

// rows are queries: b reads a, c reads a (a little) and b
const WRITTEN = [0.5, 0, 0, 2, 0.25, 0, 0.1, 1, 0];
const attention = (pieces = ["a", " <b>", " c"], more: Partial<WireAttention> = {}): WireAttention => ({
  text: pieces.join(""), pieces, kinds: pieces.map(() => 0), written: pack("f32", WRITTEN, [3, 3]), pattern: pack("f32", [1, 0, 0, 0.4, 0.6, 0, 0.2, 0.3, 0.5], [3, 3]), notice: "", ...more,
});

let m: Mounted<Traits>;
function show(traits: Partial<Traits> = {}): void {
  const all: Traits = {
    _version: VERSION, live: true, title: "heads", theme: "light", error: null, code: "", attached: true, head: [0, 1], text: "a <b> c",
    by: "written", token: null, attention: attention(), frame: frame(), ...traits,
  };
  m = mountView(head, all);
  if (all.live) greet(m);
}
const tok = (i: number): HTMLElement => m.$(`.ng-hd-live .ng-tok[data-i="${i}"]`);
const level = (i: number): string => / ng-(k\dq\d)/.exec(tok(i).className)?.[1] ?? "";
const spoken = (): string => m.$(".ng-offscreen[aria-live]").textContent;
const button = (name: string): HTMLElement => {
  const found = m.$$("button").find((one) => one.textContent === name || one.getAttribute("aria-label") === name);
  if (!found) throw new Error(`no button ${name}`);
  return found;
};

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  m.end();
  vi.useRealTimers();
  document.body.replaceChildren();
});

describe("what is stored", () => {
  test("pairs show key and query by more than colour, what is left out, and texts as text", () => {
    show();
    const [first, second] = m.$$(".ng-pairs:not([hidden]) .ng-pair");
    expect(first?.querySelector(".ng-pair-key")?.textContent).toBe(" <b>key</b>k (key)");
    expect(first?.querySelector(".ng-pair-query")?.textContent).toBe(" theq (query)");
    expect(first?.querySelector("b, i")).toBe(null);
    expect(first?.textContent).toContain("… 5 tokens …");
    expect(first?.textContent).toContain("⏎");
    expect(first?.textContent).toContain("7 back");
    expect(second?.querySelector(".ng-pair-both sup")?.textContent).toBe("kq");
    expect(second?.textContent).toContain("itself");
    expect(m.$(".ng-notice").textContent).toContain("Pairs shown: 2 of 30");
    button("random").click();
    expect(m.$$(".ng-pairs:not([hidden]) .ng-pair").length).toBe(1);
    expect(m.$(".ng-notice").hidden).toBe(true);
  });

  test("numbers have their definition; distances are shares of each group", () => {
    show();
    const said = m.$(".ng-hd-numbers").textContent;
    expect(said).toContain("largest4 ‖A·v·W_O‖");
    expect(said).toContain("the token before90%");
    expect(said).toContain("reads back1 token");
    expect(said).toContain("“·<i>the” 3");
    expect(m.$$(".ng-hd-numbers dt").every((dt) => (dt.getAttribute("title") ?? "").length > 10)).toBe(true);
    const rows = m.$$(".ng-reach tr").slice(1).map((row) => [...row.querySelectorAll("td.ng-percent")].map(({ textContent }) => textContent));
    expect(rows).toEqual([["", "100%"], ["90%", ""], ["10%", ""]]);
    expect(m.$$(".ng-reach .ng-bar").length).toBe(3); // none where there is nothing
  });

  test("the grid goes to other heads, by click and by key; those that were not harvested say so", () => {
    show();
    const grid = m.$(".ng-heads");
    expect(m.$$(".ng-head-cell").length).toBe(4);
    expect(m.$$(".ng-head-cell.ng-none").map(({ textContent }) => textContent)).toEqual(["2"]);
    expect(m.$$(".ng-head-cell[aria-selected]").map(({ textContent }) => textContent)).toEqual(["1"]);
    m.$('.ng-head-cell[data-head="3"]').click();
    expect(m.model.traits.head).toEqual([0, 3]);
    m.$('.ng-head-cell[data-head="2"]').click();
    expect(m.model.traits.head).toEqual([0, 3]);
    expect(spoken()).toBe("head 2 of layer 0: not harvested");
    grid.focus();
    key(grid, "Home");
    expect(spoken()).toContain("head 0 of layer 0: largest 2");
    expect(m.$(`[id="${grid.getAttribute("aria-activedescendant") ?? ""}"]`).textContent).toBe("0");
    key(grid, "Enter");
    expect(m.model.traits.head).toEqual([0, 0]);
    m.model.set("frame", frame({ head: [0, 0] }));
    expect(m.$(".ng-hd-title").textContent).toBe("head 0 of layer 0");
    button("previous head").click();
    expect(m.model.traits.head).toEqual([0, 3]);
    key(grid, "Escape");
    expect(grid.getAttribute("aria-activedescendant")).toBe(null);
  });
});

describe("a text of one's own", () => {
  test("idle: each token shows how much it is read and reads, at most", () => {
    show();
    const reading = readAttention(attention(), "written");
    expect([...(reading?.out ?? [])]).toEqual([2, 1, 0]);
    expect([...(reading?.into ?? [])]).toEqual([0.5, 2, 1]);
    expect([level(0), level(1), level(2)]).toEqual([`k${LEVELS}q2`, `k4q${LEVELS}`, "k0q4"]);
    expect(m.$(".ng-legend").textContent).toContain("full colour: 2 ‖A·v·W_O‖");
  });

  test("pointed at or selected: what it reads is cyan, who reads it magenta", () => {
    show();
    tok(1).dispatchEvent(new PointerEvent("pointerover", { bubbles: true }));
    expect([level(0), level(1), level(2)]).toEqual([`k${LEVELS}q0`, "k1q0", "k0q4"]);
    expect(m.$(".ng-tip").textContent).toContain("it reads (key, ‖A·v·W_O‖)");
    expect(m.$$(".ng-tip b")).toEqual([]);
    m.$(".ng-hd-live .ng-tokens").dispatchEvent(new PointerEvent("pointerleave"));
    expect(level(2)).toBe("k0q4");
    tok(2).click();
    expect(m.model.traits.token).toBe(2);
    expect([level(0), level(1), level(2)]).toEqual(["k1q0", "k4q0", ""]);
    button("attention, A").click();
    expect(m.model.traits.by).toBe("pattern");
    expect(level(2)).toBe("k4q0");
    expect(m.$(".ng-legend").textContent).toContain("full colour: 1 A");
  });

  test("what attending to a token says is asked for once, and told with signs", () => {
    show({ token: 1 });
    const asked = m.model.last("ov");
    expect(asked.position).toBe(1);
    m.model.reply(asked);
    m.model.reply(asked, { seq: 1, done: true, promoted: [["<u>x", 7, 2.5]], suppressed: [[" y", 8, -1.5]] });
    const said = m.$(".ng-detail").textContent;
    expect(said).toContain("attending to it promotes (logits, A = 1)");
    expect(said).toContain("“<u>x”+2.5");
    expect(said).toContain("“·y”−1.5");
    expect(m.$$(".ng-detail u")).toEqual([]);
    tok(2).click();
    expect(m.model.of("ov").length).toBe(2);
    const late = m.model.last("ov");
    tok(2).click(); // let go
    expect(m.$(".ng-detail").hidden).toBe(true);
    m.model.reply(late, { seq: 1, done: true, promoted: [["late", 1, 1]], suppressed: [] });
    expect(m.$(".ng-detail").hidden).toBe(true);
    tok(0).click();
    const failing = m.model.last("ov");
    m.model.reply(failing);
    m.model.reply(failing, { seq: 1, done: true, error: { type: "InputError", message: "No text is read.", hint: "Type one." } });
    expect(m.$(".ng-failure").textContent).toBe("No text is read. Type one.");
  });

  test("typing asks the kernel; only the newest waits, and the box is not written over meanwhile", () => {
    show();
    const box = m.$("textarea.ng-text") as HTMLTextAreaElement;
    type(box, "on");
    type(box, "one");
    type(box, "one two");
    expect(m.model.of("read").map(({ text }) => text)).toEqual(["on"]);
    m.model.set("text", "on");
    expect(box.value).toBe("one two");
    const first = m.model.last("read");
    m.model.reply(first);
    m.model.reply(first, { seq: 1, done: true });
    expect(m.model.last("read").text).toBe("one two");
    m.model.set("attention", attention(["one", " two", "!"]));
    expect(m.$$(".ng-hd-live .ng-tok").map(({ textContent }) => textContent)).toEqual(["one", " two", "!"]);
  });

  test("the keyboard goes along the tokens and each is spoken", () => {
    show();
    const strip = m.$(".ng-hd-live .ng-tokens");
    strip.focus();
    key(strip, "End");
    expect(spoken()).toBe("“·c” at 2, reads “·<b>” at 1 most: 1");
    key(strip, "ArrowLeft");
    expect(spoken()).toContain("is read by “·c” at 2 most: 1");
    key(strip, "Enter");
    expect(m.model.traits.token).toBe(1);
    expect(m.$$(".ng-hd-live .ng-sel").map((one) => one.dataset.i)).toEqual(["1"]);
  });

  test("the square tells of pairs, and only of those that can be", () => {
    show();
    const canvas = m.$(".ng-matrix canvas");
    canvas.getBoundingClientRect = () => ({ left: 0, top: 0, width: 30, height: 30, right: 30, bottom: 30, x: 0, y: 0, toJSON: () => "" });
    const point = (clientX: number, clientY: number): void => {
      canvas.dispatchEvent(new PointerEvent("pointermove", { bubbles: true, clientX, clientY }));
    };
    point(5, 15);
    expect(m.$(".ng-tip").textContent).toBe("“·<b>” reads “a”‖A·v·W_O‖ 2 · 1 back");
    point(25, 5); // a key after its query
    expect(m.$(".ng-tip").hidden).toBe(true);
    canvas.dispatchEvent(new MouseEvent("click", { bubbles: true, clientX: 5, clientY: 25 }));
    expect(m.model.traits.token).toBe(2);
  });

  test("quantised values say that they are approximate", () => {
    const q8 = pack("q8", [254, 0, 0, 127, 254, 0, 0, 0, 254], [3, 3]);
    show({ token: 1, attention: attention(undefined, { written: { ...q8, lo: 0, hi: 2 } }) });
    expect(m.$(".ng-detail").textContent).toContain("≈ 1");
  });
});

describe("colours", () => {
  test("every mixture carries readable text, and both amounts show", () => {
    show();
    for (const theme of ["light", "dark"] as const) {
      for (let k = 0; k <= LEVELS; k++) {
        for (let q = 0; q <= LEVELS; q++) {
          const colour = mixed(theme, k / LEVELS, q / LEVELS);
          const text = luminance(colour) > 0.179 ? "#000000" : "#ffffff";
          expect(contrast(colour, parse(text))).toBeGreaterThan(4.5);
        }
      }
      expect(mixed(theme, 0, 0)).toEqual(parse(PAPER[theme]));
      const [key, query] = [mixed(theme, 1, 0), mixed(theme, 0, 1)];
      expect(key[2]).toBeGreaterThan(key[0]);
      expect(query[0]).toBeGreaterThan(query[1]);
    }
    expect([mixClass(0, 0), mixClass(0.001, 0.02), mixClass(1, 0.5)]).toEqual(["", " ng-k0q1", ` ng-k${LEVELS}q4`]);
    expect(mixCss().match(/\.ng-k\dq\d\{/g)?.length).toBe(2 * ((LEVELS + 1) ** 2 - 1));
  });

  test("the strongest come first, and nobody is told of who reads nothing", () => {
    show();
    const reading = readAttention(attention(), "written");
    if (!reading) throw new Error("no reading");
    expect(strongest(reading, 2, "reads", 5).map(([i, v]) => [i, Math.round(10 * v) / 10])).toEqual([[1, 1], [0, 0.1]]);
    expect(strongest(reading, 0, "readers", 1).map(([i]) => i)).toEqual([1]);
  });
});

describe("without", () => {
  test("a model: pairs are there, and the page says how to read a text", () => {
    show({ attached: false, attention: {}, text: "" });
    expect(m.$$(".ng-pair").length).toBeGreaterThan(0);
    expect(m.$(".ng-hd-attach").textContent).toContain("attach a model: store.attach(model)");
    expect(m.$(".ng-editor").hidden).toBe(true);
    m.model.set("attached", true);
    expect(m.$(".ng-editor").hidden).toBe(false);
    expect(m.$(".ng-hd-attach").hidden).toBe(true);
  });

  test("a kernel: the text as it was can be looked at, other heads can't", () => {
    show({ live: false, token: 1 });
    expect(m.$(".ng-detail").textContent).toContain("needs the model");
    expect(m.model.of("ov")).toEqual([]);
    expect(button("previous head").hidden).toBe(true);
    m.$('.ng-head-cell[data-head="0"]').click();
    expect(m.model.traits.head).toEqual([0, 1]);
    expect(m.$(".ng-notice").textContent).toContain("Without a kernel, this page has one head.");
    tok(0).click();
    expect(m.model.traits.token).toBe(0);
  });

  test("a frame that contradicts itself is an error in the cell", () => {
    show({ attention: attention(["a", "b"]) });
    expect(m.$(".ng-error").textContent).toContain("written has 9 entries; 2 tokens need 4");
  });
});
