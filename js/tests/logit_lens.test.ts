// The logit lens against a kernel that the test plays: grid, keyboard, columns, target, detail, links.
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import lens from "../src/views/logit_lens/index.js";
import type { Traits, WireLens } from "../src/views/logit_lens/synced.js";
import { type Mounted, type Sent, VERSION, greet, key, mountView, pack, type } from "./helpers.js";

const SITES = ["resid_pre.0", "resid_post.0", "resid_post.1"];
const VOCABULARY = 1000;

/** In row r, token i predicts id 10·r + i; the target at i is id 20 + i, none at the end. */
function frame(pieces: string[], more: Partial<WireLens> = {}): WireLens {
  const n = pieces.length;
  const cells = Array.from({ length: 3 * n }, (_, k) => [Math.floor(k / n), k % n] as const);
  const shape = [3, n];
  return {
    id: 0, view: "", text: pieces.join(""), target: "", chosen: null, sites: SITES, labels: ["input", "0", "1"],
    pieces, kinds: pack("u8", pieces.map(() => 0)), ids: pack("i32", pieces.map((_, i) => 20 + i)),
    targets: pack("i32", pieces.map((_, i) => (i + 1 < n ? 20 + i : -1))),
    top: pack("i32", cells.map(([r, i]) => 10 * r + i), shape),
    logprobs: pack("f32", cells.map(([r]) => Math.log([0.01, 0.5, 1][r] ?? NaN)), shape),
    entropy: pack("f32", cells.map(() => 1.5), shape),
    ranks: pack("i32", cells.map(([r, i]) => (i + 1 < n ? [VOCABULARY, 31, 1][r] ?? 0 : 0)), shape),
    chances: pack("f32", cells.map(([, i]) => (i + 1 < n ? Math.log(0.02) : NaN)), shape),
    names: Object.fromEntries(cells.flatMap(([r, i]) => [[String(10 * r + i), ` w${10 * r + i}`], [String(20 + i), ` w${20 + i}`]])),
    vocabulary: VOCABULARY, notice: null, ...more,
  };
}

let m: Mounted<Traits>;
function show(traits: Partial<Traits> = {}): void {
  const all: Traits = {
    _version: VERSION, live: false, title: "tiny", theme: "auto", error: null, code: "", text: "", target: "", sites: SITES,
    frame: frame(["The", " cap", " is"]), selected: null, token: null, colour_by: "probability", ...traits,
  };
  m = mountView(lens, all);
  if (all.live) greet(m);
}
const live = (traits: Partial<Traits> = {}): void => show({ live: true, text: "The cap is", ...traits });
const cell = (row: number, i: number): HTMLElement => m.$(`.ng-cell[data-row="${row}"][data-i="${i}"]`);
const grid = (): HTMLElement => m.$(".ng-lens");
function answer(run: Sent, pieces: string[], more: Partial<WireLens> = {}): void {
  m.model.reply(run);
  m.model.set("frame", frame(pieces, { id: run.id, view: run.view, ...more }));
  m.model.reply(run, { seq: 1, done: true });
}

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  m.end();
  vi.useRealTimers();
  document.body.replaceChildren();
});

describe("the grid", () => {
  test("has the last layer on top, and in each cell the likeliest next token", () => {
    show();
    expect(m.$$(".ng-lens-label").map(({ textContent }) => textContent)).toEqual(["layer", "1", "0", "input"]);
    expect(m.$$(".ng-read").map(({ textContent }) => textContent)).toEqual(["The", "·cap", "·is"]);
    expect(cell(2, 1).textContent).toBe("·w21");
    expect(cell(0, 0).textContent).toBe("·w0");
    expect(grid().getAttribute("aria-rowcount")).toBe("4");
    expect(grid().getAttribute("aria-colcount")).toBe("4");
  });

  test("is coloured by probability, or by the rank of the target; hits are marked without colour", () => {
    show();
    expect([cell(0, 0), cell(1, 0), cell(2, 0)].map(({ className }) => className)).toEqual([
      "ng-cell ng-p1", "ng-cell ng-p16", "ng-cell ng-p32 ng-hit",
    ]);
    const by = m.$(".ng-by") as HTMLSelectElement;
    by.value = "rank";
    by.dispatchEvent(new Event("change"));
    expect(m.model.traits.colour_by).toBe("rank");
    expect([cell(0, 0), cell(1, 0), cell(2, 0)].map(({ className }) => className)).toEqual([
      "ng-cell", "ng-cell ng-p17", "ng-cell ng-p32 ng-hit",
    ]);
    expect(cell(2, 2).className).toBe("ng-cell ng-nan"); // nothing comes next
    expect(m.$(".ng-legend").textContent).toContain("1,000");
  });

  test("mounts only the columns that can be seen", () => {
    show({ frame: frame(Array.from({ length: 1000 }, (_, i) => ` t${i}`)) });
    expect(m.$$(".ng-read").length).toBeLessThan(40);
    grid().scrollLeft = 500 * 70;
    grid().dispatchEvent(new Event("scroll"));
    expect(m.$$(".ng-read").length).toBeLessThan(50);
    expect(m.$$(".ng-read").some(({ textContent }) => textContent === "·t505")).toBe(true);
    expect(cell(2, 505).getAttribute("aria-colindex")).toBe("507");
    grid().dispatchEvent(new Event("focus"));
    key(grid(), "End");
    expect(cell(2, 999).classList.contains("ng-cur")).toBe(true);
  });

  test("writes tokens as text, and right to left where the text is", () => {
    show({ frame: frame(["<img src=x>", "שלום"], { names: { 20: "<b>" } }) });
    expect(m.$$(".ng-lens img, .ng-lens b")).toEqual([]);
    expect(cell(2, 0).textContent).toBe("<b>");
    expect(grid().dir).toBe("ltr");
    m.model.set("frame", frame([" שלום", " עולם"]));
    expect(grid().dir).toBe("rtl");
    key(grid(), "ArrowLeft");
    expect(cell(2, 1).classList.contains("ng-cur")).toBe(true);
  });

  test("a frame whose numbers do not fit is an error in the cell", () => {
    show({ frame: { ...frame(["a", "b"]), pieces: ["a"] } });
    expect(m.$(".ng-error").textContent).toContain("6 numbers for 3 sites of 1 tokens");
  });
});

describe("keyboard and pointer", () => {
  test("one tab stop, arrows, Home and End, Enter pins, Escape lets go", () => {
    show();
    expect(m.$$("[tabindex='0']")).toEqual([grid()]);
    const named = (): string | null => m.$(`[id="${grid().getAttribute("aria-activedescendant")}"]`).textContent;
    key(grid(), "ArrowRight");
    expect(named()).toBe("·w21");
    expect(m.$("[aria-live]").textContent).toBe("resid_post.1 · after “·cap”: “·w21”, 100.0%; target “·w21” has rank 1 of 1,000");
    key(grid(), "ArrowDown");
    expect(named()).toBe("·w11");
    key(grid(), "ArrowDown");
    key(grid(), "ArrowDown");
    key(grid(), "End");
    expect(named()).toBe("·w2");
    key(grid(), "Home");
    expect(named()).toBe("·w0");
    key(grid(), "Enter");
    expect([m.model.traits.selected, m.model.traits.token]).toEqual([[0, 0], 0]);
    expect(cell(0, 0).getAttribute("aria-selected")).toBe("true");
    expect(m.$(".ng-detail").hidden).toBe(false);
    key(grid(), "Escape");
    expect(m.model.traits.selected).toBeNull();
    expect(m.$(".ng-detail").hidden).toBe(true);
  });

  test("the tooltip tells probability, entropy and rank", () => {
    show();
    cell(1, 0).dispatchEvent(new Event("pointerover", { bubbles: true }));
    expect(m.$(".ng-tip").textContent).toBe(
      "“·w10”resid_post.0 · after “The”probability50.0%entropy1.5 natsposition0target“·w20”its rank31 of 1,000its probability2.0%",
    );
    grid().dispatchEvent(new Event("pointerleave"));
    expect(m.$(".ng-tip").hidden).toBe(true);
  });

  test("a click pins, a second one lets go; the kernel names the ten likeliest", () => {
    live();
    cell(1, 0).click();
    const request = m.model.last("detail");
    expect(request).toMatchObject({ row: 1, position: 0 });
    m.model.reply(request, { done: true, strongest: [{ id: 10, piece: " w10", logprob: -0.7 }, { id: 20, piece: "<i>", logprob: -2 }] });
    const lines = m.$$(".ng-detail .ng-top tr").map(({ textContent }) => textContent);
    expect(lines).toEqual(["“·w10”49.7%", "“<i>”◂ target13.5%"]);
    cell(1, 0).click();
    expect(m.model.traits.selected).toBeNull();
  });

  test("a failure of the detail is told in the panel, an answer that is late is dropped", () => {
    live();
    cell(1, 0).click();
    const late = m.model.last("detail");
    cell(1, 1).click();
    m.model.reply(late, { done: true, strongest: [{ id: 1, piece: "late", logprob: 0 }] });
    expect(m.$(".ng-detail").textContent).not.toContain("late");
    m.model.reply(m.model.last("detail"), { done: true, error: { type: "InputError", message: "gone", hint: "run again" } });
    expect(m.$(".ng-failure").textContent).toBe("gone run again");
  });
});

describe("the editor", () => {
  const field = (): HTMLInputElement => m.$(".ng-target") as HTMLInputElement;

  test("a text runs with the target", () => {
    live({ target: " Rome", frame: frame(["a"], { target: " Rome", chosen: [7, " Rome"] }) });
    expect(field().value).toBe(" Rome");
    expect(m.$(".ng-chosen").textContent).toBe("“·Rome” · id 7");
    type(m.$(".ng-text"), "Hello");
    expect(m.model.last("run")).toMatchObject({ text: "Hello", target: " Rome" });
    answer(m.model.last("run"), ["Hel", "lo"]);
    expect(m.$(".ng-status").textContent).toContain("ready · 2 tokens");
  });

  test("a target is asked about before it runs; what is no single token is said beside the field", () => {
    live();
    type(field(), "Parisian");
    expect(m.model.of("run")).toHaveLength(0);
    m.model.reply(m.model.last("target"), { done: true, error: { type: "InputError", message: "2 tokens", hint: "Choose." } });
    expect(m.$(".ng-problem").textContent).toBe("2 tokens Choose.");
    expect(field().getAttribute("aria-invalid")).toBe("true");
    expect(m.$(".ng-error").hidden).toBe(true);
    type(m.$(".ng-text"), "A"); // goes on with the last good target
    expect(m.model.last("run").target).toBe("");
    answer(m.model.last("run"), ["A"]);
    m.model.set("text", "A");
    expect(field().value).toBe("Parisian");
    type(field(), " Paris");
    m.model.reply(m.model.last("target"), { done: true, token: 7 });
    expect(m.$(".ng-problem").hidden).toBe(true);
    expect(m.model.last("run")).toMatchObject({ text: "A", target: " Paris" });
    answer(m.model.last("run"), ["A"], { target: " Paris", chosen: [7, " Paris"] });
    type(field(), "");
    expect(m.model.last("run").target).toBe("");
  });

  test("an id chosen by Python shows as its token and stays an id", () => {
    live({ target: 7, frame: frame(["a"], { target: 7, chosen: [7, " Rome"] }) });
    expect(field().value).toBe(" Rome");
    type(m.$(".ng-text"), "b");
    expect(m.model.last("run").target).toBe(7);
  });

  test("without a kernel there is none, and what is known is told", () => {
    show({ selected: [2, 0] });
    expect(m.$(".ng-editor").hidden).toBe(true);
    expect(m.$(".ng-detail").textContent).toContain("its rank1 of 1,000");
    expect(m.model.sent).toEqual([]);
  });

  test("no text, and a notice of what is left out", () => {
    live({ text: "", frame: frame([]) });
    expect(m.$(".ng-empty").textContent).toBe("Type some text above.");
    expect(grid().hidden).toBe(true);
    m.model.set("frame", frame(["a"], { notice: "The first 1,024 of 2,000 tokens are read out." }));
    expect(m.$(".ng-notice").textContent).toContain("1,024 of 2,000");
  });
});

test("a token that a link moved is pinned in the row of before, else on top", () => {
  show();
  m.model.set("token", 1);
  expect(m.model.traits.selected).toEqual([2, 1]);
  m.model.set("selected", [0, 1]);
  m.model.set("token", 2);
  expect(m.model.traits.selected).toEqual([0, 2]);
  m.model.set("token", 99);
  expect(m.model.traits.selected).toEqual([0, 2]);
  m.model.set("token", null);
  expect(m.model.traits.selected).toBeNull();
});

test("nothing listens after the end", () => {
  live();
  m.end();
  expect(m.model.listeners).toBe(0);
});
