import { beforeEach, describe, expect, it, vi } from "vitest";
import browser from "../src/views/browser/index.js";
import { digits, share } from "../src/views/browser/columns.js";
import type { Choices, Said, Traits, WireColumn, WireFrame, WireRows } from "../src/views/browser/synced.js";
import { type Mounted, VERSION, greet, key, mountView, pack, type } from "./helpers.js";

const BASE = "zoo/A/neurons.0/A-8x/";
const HOSTILE = "<img src=x onerror='window.hacked = 1'>";
const column = (name: string, label: string, kind: WireColumn["kind"], extra = false): WireColumn => ({ name, label, kind, what: `what ${label} is`, extra });
const CHOICES: Choices = {
  columns: [
    column("feature", "feature", "index"),
    column("value", "on prompt", "number", true),
    column("at", "strongest at", "token", true),
    column("explanation", "explanation", "text"),
    column("density", "density", "share"),
    column("max", "max", "number"),
    column("kurtosis", "kurtosis", "number"),
    column("top_token", "top token", "token"),
    column("promoted", "raises", "tokens"),
    column("flags", "flags", "flags"),
    column("rating", "rating", "rating"),
    column("lists", "lists", "text"),
  ],
  tokens: 10_000,
  features: 5000,
  largest: 8,
};

/** Rows of features from..to-1 whose index is their row, larger max first. */
function rows(from: number, to: number, more: Partial<WireRows> = {}): WireRows {
  const features = Array.from({ length: to - from }, (_, k) => from + k);
  const of = (make: (i: number) => number): ReturnType<typeof pack> => pack("f32", features.map(make));
  return {
    from,
    features: pack("i32", features),
    numbers: {
      density: of((i) => (i === 2 ? 0 : 1 / (i + 1))),
      count: of((i) => (i === 3 ? NaN : i === 2 ? 0 : 10)),
      max: of((i) => (i === 3 ? NaN : 8 - i / 1000)),
      kurtosis: of((i) => (i === 2 || i === 3 ? NaN : 100)),
      not_finite: of((i) => (i === 3 ? 40 : 0)),
      promoted_by: pack("f32", features.flatMap(() => [0.5, 0.25]), [features.length, 2]),
    },
    tokens: { top_token: pack("i32", features.map((i) => (i === 2 ? -1 : 0))), promoted: pack("i32", features.flatMap(() => [0, 1]), [features.length, 2]) },
    pieces: { 0: " the", 1: HOSTILE },
    said: {},
    ...more,
  };
}

const frame = (more: Partial<WireFrame> = {}): WireFrame => ({ view: "", id: 0, result: 1, total: 5000, sort: "max", descending: true, extra: [], rows: rows(0, 500), empty: null, notice: "", prompt: null, ...more });
const said = (more: Partial<Said>): Said => ({ explanation: null, author: null, score: null, more: 0, rating: null, note: "", lists: [], ...more });

const TRAITS: Traits = {
  _version: VERSION,
  live: true,
  title: "A-8x",
  theme: "auto",
  error: null,
  code: "ng.FeatureBrowser(store)",
  attached: true,
  base: BASE,
  feature: "",
  query: {},
  sort: "",
  descending: true,
  columns: ["explanation", "density", "max", "kurtosis", "top_token", "promoted", "flags", "rating", "lists"],
  subset: [],
  chosen: [],
  dashboard: null,
  choices: CHOICES,
  frame: {},
  remarks: { of: {}, lists: [], fresh: 0 },
};

type View = Mounted<Traits>;
const mount = (more: Partial<Traits> = {}): View => {
  const made = mountView(browser, structuredClone({ ...TRAITS, frame: frame(), ...more }));
  return more.live === false ? made : greet(made);
};
const grid = (view: View): HTMLElement => view.$("[role=grid]");
const row = (view: View, i: number): HTMLElement => view.$(`.ng-row[data-row="${i}"]`);
const cells = (view: View, i: number): string[] => [...row(view, i).children].map((cell) => cell.textContent);
const low = (view: View): HTMLElement => view.$("[aria-label='density from']");
const high = (view: View): HTMLElement => view.$("[aria-label='density to']");
/** Answers the newest request of a kind. */
function answer(view: View, kind: string, body: Record<string, unknown> = {}): void {
  const sent = view.model.last(kind);
  view.model.reply(sent);
  view.model.reply(sent, { seq: 1, done: true, ...body });
}

beforeEach(() => {
  document.body.replaceChildren();
  vi.useRealTimers();
});

describe("the table", () => {
  it("draws the first rows and no others", () => {
    const view = mount();
    expect(cells(view, 0)).toEqual(["0", "–", "100%", "8", "100", "“·the”", `·the${HOSTILE}`, "–", "–", "–"]);
    expect(view.$$(".ng-row[data-row]").length).toBeLessThan(60);
    expect(grid(view).getAttribute("aria-rowcount")).toBe("5001");
    expect(row(view, 4).getAttribute("aria-rowindex")).toBe("6");
    expect(view.$(".ng-rows-all").style.height).toBe(`${5000 * 26}px`);
    expect(view.root.dataset.status).toBe("ready");
    expect(view.$(".ng-status").textContent).toContain("5,000 features");
  });

  it("never draws what is not known as zero, and says why", () => {
    const view = mount();
    expect(cells(view, 3).slice(2, 5)).toEqual(["25%", "NaN", "NaN"]);
    const max = row(view, 3).children[3] as HTMLElement;
    expect(max.querySelector(".ng-unknown")).not.toBeNull();
    expect(max.querySelector(".ng-gauge")).toBeNull();
    max.dispatchEvent(new Event("pointerover", { bubbles: true }));
    expect(max.title).toContain("only as NaN or infinite");
    expect(cells(view, 3)[7]).toBe("not finite");
    expect(cells(view, 2)[2]).toBe("0%"); // dead: it was measured
    expect(cells(view, 2)[4]).toBe("–");
    expect(cells(view, 2)[7]).toBe("dead");
  });

  it("keeps the text of tokens and remarks text", () => {
    const view = mount({ remarks: { of: { 0: said({ explanation: HOSTILE, lists: [HOSTILE], rating: 3 }) }, lists: [[HOSTILE, 1]], fresh: 0 } });
    expect(view.$$("img")).toEqual([]);
    expect(cells(view, 0)[1]).toBe(HOSTILE);
    expect(cells(view, 0)[8]).toBe("★★★3 of 5");
    expect((window as { hacked?: number }).hacked).toBeUndefined();
  });

  it("draws bars: logarithmic for the density, against the largest for the maximum", () => {
    const view = mount();
    const width = (i: number, k: number): number => parseFloat(row(view, i).children[k]?.querySelector<HTMLElement>(".ng-gauge i")?.style.width ?? "NaN");
    expect(width(0, 2)).toBe(100);
    expect(width(9, 2)).toBeCloseTo(75, 0); // 1 in 10 of 10,000
    expect(width(2, 2)).toBe(0);
    expect(width(0, 3)).toBe(100);
  });

  it("asks for rows that are scrolled to, shows them blank, and fills them", () => {
    const view = mount();
    grid(view).scrollTop = 2000 * 26;
    grid(view).dispatchEvent(new Event("scroll"));
    expect(view.model.last("rows")).toMatchObject({ from: 1900, to: 2500 });
    expect(row(view, 2000).className).toContain("ng-row-blank");
    answer(view, "rows", { ...rows(1900, 2500), result: 1 });
    expect(cells(view, 2000)[0]).toBe("2000");
    expect(row(view, 2000).className).not.toContain("ng-row-blank");
    grid(view).scrollTop = 2030 * 26;
    grid(view).dispatchEvent(new Event("scroll"));
    expect(view.model.of("rows").length).toBe(1); // they are there
    grid(view).scrollTop = 2090 * 26;
    grid(view).dispatchEvent(new Event("scroll"));
    expect(view.model.last("rows")).toMatchObject({ from: 2500, to: 2600 }); // before they are seen
  });

  it("lets rows of an older result go", () => {
    const view = mount();
    grid(view).scrollTop = 2000 * 26;
    grid(view).dispatchEvent(new Event("scroll"));
    view.model.set("frame", frame({ result: 2 }));
    grid(view).scrollTop = 2000 * 26;
    grid(view).dispatchEvent(new Event("scroll"));
    answer(view, "rows", { ...rows(1900, 2500), result: 1 });
    expect(row(view, 2000).className).toContain("ng-row-blank");
  });

  it("of fast scrolling only the newest stretch is asked for", () => {
    const view = mount();
    for (const to of [1000, 2000, 3000, 4000]) {
      grid(view).scrollTop = to * 26;
      grid(view).dispatchEvent(new Event("scroll"));
    }
    expect(view.model.of("rows").length).toBe(1);
    answer(view, "rows", { ...rows(900, 1500), result: 1 });
    expect(view.model.of("rows").length).toBe(2);
    expect(view.model.last("rows")).toMatchObject({ from: 3900 });
  });

  it("sorts by a click on a header, again the other way round", () => {
    const view = mount();
    const head = view.$$("[role=columnheader]");
    expect(head.map((cell) => cell.getAttribute("aria-sort"))).toContain("descending");
    head[3]?.click(); // max: sorted already
    expect(view.model.last("run")).toMatchObject({ sort: "max", descending: false });
    answer(view, "run");
    view.$$("[role=columnheader]")[1]?.click();
    expect(view.model.last("run")).toMatchObject({ sort: "explanation", descending: false });
    expect(view.$$("[role=columnheader]")[2]?.title).toContain("what density is");
  });

  it("begins at its top when the result is another one, and stays where it is when remarks come", () => {
    const view = mount();
    grid(view).scrollTop = 520;
    view.model.set("remarks", { of: { 20: said({ rating: 5 }) }, lists: [], fresh: 0 });
    expect(grid(view).scrollTop).toBe(520);
    expect(cells(view, 20)[8]).toContain("★★★★★");
    view.model.set("frame", frame({ result: 2, sort: "density" }));
    expect(grid(view).scrollTop).toBe(0);
  });

  it("hides and shows columns in the order they were given", () => {
    const view = mount();
    const boxes = view.$$(".ng-columns-all input") as HTMLInputElement[];
    expect(boxes.map(({ value }) => value)).not.toContain("value"); // what a query says is always shown
    boxes.find(({ value }) => value === "max")?.click();
    expect(view.model.traits.columns).not.toContain("max");
    expect(view.$$("[role=columnheader]").map((cell) => cell.textContent)).not.toContain("max▾");
    boxes.find(({ value }) => value === "max")?.click();
    expect(view.model.traits.columns.at(-1)).toBe("max");
  });
});

describe("selection and keys", () => {
  it("selects by click and shows what was said", () => {
    const view = mount({ remarks: { of: { 4: said({ explanation: "Arabic", author: "ada", score: 0.5, more: 2, rating: 4, note: "hm", lists: ["mine"] }) }, lists: [["mine", 1]], fresh: 0 } });
    row(view, 4).children[2]?.dispatchEvent(new MouseEvent("click", { bubbles: true }));
    expect(view.model.traits.feature).toBe(`${BASE}4`);
    expect(row(view, 4).className).toContain("ng-sel");
    expect(view.$(".ng-explained").textContent).toBe("Arabic (ada, score 0.5 · 2 more)");
    expect(view.$(".ng-rate[aria-pressed=true]").textContent).toBe("4");
    expect((view.$(".ng-note-text") as HTMLInputElement).value).toBe("hm");
    expect(view.$(".ng-on-list").textContent).toBe("mine×");
    view.$(".ng-detail-close").click();
    expect(view.model.traits.feature).toBe("");
    expect(view.$(".ng-one").hidden).toBe(true);
  });

  it("goes through rows and columns, to the ends, and into the header", () => {
    const view = mount();
    const active = (): [string, string] => {
      const cell = document.getElementById(grid(view).getAttribute("aria-activedescendant") ?? "");
      return [cell?.parentElement?.dataset.row ?? "head", cell?.dataset.i ?? ""];
    };
    grid(view).focus();
    for (const [name, ctrl, place] of [
      ["ArrowDown", false, ["1", "0"]],
      ["ArrowRight", false, ["1", "1"]],
      ["End", false, ["1", "9"]],
      ["Home", false, ["1", "0"]],
      ["PageDown", false, ["18", "0"]],
      ["End", true, ["4999", "0"]],
      ["Home", true, ["0", "0"]],
      ["ArrowUp", false, ["head", "0"]],
      ["ArrowUp", false, ["head", "0"]],
    ] as const) {
      grid(view).dispatchEvent(new KeyboardEvent("keydown", { key: name, ctrlKey: ctrl, bubbles: true, cancelable: true }));
      expect(active(), name).toEqual(place);
    }
    key(grid(view), "Enter");
    expect(view.model.last("run")).toMatchObject({ sort: "feature", descending: false });
    expect(view.$("[aria-live]").textContent).toContain("sorted by feature");
  });

  it("lets the selection follow the arrows, once they rest", () => {
    const view = mount();
    vi.useFakeTimers();
    for (let k = 0; k < 5; k++) key(grid(view), "ArrowDown");
    expect(view.model.traits.feature).toBe("");
    const saved = view.model.saved;
    vi.advanceTimersByTime(200);
    expect(view.model.traits.feature).toBe(`${BASE}5`);
    expect(view.model.saved).toBe(saved + 1);
    key(grid(view), "Escape");
    expect(view.model.traits.feature).toBe("");
  });

  it("ticks by Space, box, Ctrl and Shift", () => {
    const view = mount();
    key(grid(view), " ");
    expect(view.model.traits.chosen).toEqual([0]);
    row(view, 2).querySelector<HTMLElement>(".ng-tick")?.click();
    expect(view.model.traits.chosen).toEqual([0, 2]);
    expect(view.model.traits.feature).toBe("");
    row(view, 5).dispatchEvent(new MouseEvent("click", { bubbles: true }));
    const cell = row(view, 5).children[1] as HTMLElement;
    cell.dispatchEvent(new MouseEvent("click", { bubbles: true, shiftKey: true }));
    expect(view.model.traits.chosen).toEqual([0, 2, 3, 4, 5]);
    cell.dispatchEvent(new MouseEvent("click", { bubbles: true, ctrlKey: true }));
    expect(view.model.traits.chosen).toEqual([0, 2, 3, 4]);
    expect(row(view, 4).getAttribute("aria-selected")).toBe("true");
    grid(view).dispatchEvent(new KeyboardEvent("keydown", { key: "a", ctrlKey: true, bubbles: true }));
    expect(view.model.last("choose")).toMatchObject({ from: 0, to: 5000 });
  });

  it("rates by keys: each of them reaches the kernel", () => {
    const view = mount();
    key(grid(view), "4");
    key(grid(view), "ArrowDown");
    key(grid(view), "5");
    key(grid(view), "Delete");
    expect(view.model.of("rate").length).toBe(1); // one at a time, none is lost
    for (const wanted of [
      { features: [0], value: 4 },
      { features: [1], value: 5 },
      { features: [1], value: null },
    ]) {
      expect(view.model.last("rate")).toMatchObject(wanted);
      answer(view, "rate");
    }
    expect(view.model.of("rate").length).toBe(3);
    expect(view.$("[aria-live]").textContent).toBe("feature 1 not rated");
  });

  it("writes notes by N, and tells what could not be written", () => {
    const view = mount();
    key(grid(view), "n");
    expect(document.activeElement).toBe(view.$(".ng-note-text"));
    (view.$(".ng-note-text") as HTMLInputElement).value = "odd";
    key(view.$(".ng-note-text"), "Enter");
    expect(view.model.last("note")).toMatchObject({ feature: 0, text: "odd" });
    answer(view, "note", { error: { type: "InputError", message: "The annotations can't be written.", hint: "Elsewhere." } });
    expect(view.$(".ng-problem").textContent).toBe("The annotations can't be written. Elsewhere.");
  });

  it("goes to a feature that was selected elsewhere", () => {
    const view = mount();
    view.model.set("feature", `${BASE}4321`);
    expect(view.model.last("place")).toMatchObject({ feature: 4321 });
    answer(view, "place", { row: 3000 });
    expect(row(view, 3000)).toBeDefined();
    view.model.set("feature", "other/basis/1/2");
    expect(view.$(".ng-one").hidden).toBe(true);
  });

  it("puts ticked features on a list, makes them the subset, and copies them", async () => {
    const view = mount({ chosen: [3, 1] });
    type(view.$(".ng-list-name"), "mine");
    (view.$$(".ng-ticked-bar button") as HTMLButtonElement[]).find((one) => one.textContent === "Add to list")?.click();
    expect(view.model.last("put")).toMatchObject({ name: "mine", features: [3, 1] });
    (view.$$(".ng-ticked-bar button") as HTMLButtonElement[]).find((one) => one.textContent === "Only these")?.click();
    expect(view.model.last("run")).toMatchObject({ subset: [3, 1] });
    const written: string[] = [];
    vi.stubGlobal("navigator", { clipboard: { writeText: (text: string) => (written.push(text), Promise.resolve()) } });
    (view.$$(".ng-bar-end button") as HTMLButtonElement[]).find((one) => one.textContent === "Copy 2")?.click();
    await vi.waitFor(() => expect(written).toEqual(["[3, 1]"]));
    vi.unstubAllGlobals();
  });
});

describe("conditions", () => {
  it("become one query, a moment after typing", () => {
    const view = mount();
    vi.useFakeTimers();
    type(view.$(".ng-find-token"), " the");
    type(view.$(".ng-find-explanation"), "hebrew");
    type(low(view), "0.01%");
    expect(view.model.of("run")).toEqual([]);
    vi.advanceTimersByTime(300);
    expect(view.model.last("run")).toMatchObject({ query: { token: " the", explanation: "hebrew", density: [0.0001, 1] }, sort: "", descending: true });
    answer(view, "run", { error: { type: "InputError", message: "'the' is no single token.", hint: "Did you mean…" } });
    expect(view.$(".ng-problem").textContent).toContain("no single token");
    expect(view.root.dataset.status).toBe("ready"); // the table stays
    view.model.set("query", { token: " the" });
    view.model.set("frame", frame({ result: 2, total: 1, rows: rows(0, 1), extra: [] }));
    expect(view.$(".ng-problem").hidden).toBe(true);
    expect(view.$(".ng-found").textContent).toBe("1 of 5,000 features");
  });

  it("refuse a density that is none", () => {
    const view = mount();
    type(high(view), "seven");
    key(high(view), "Enter");
    expect(view.$(".ng-problem").textContent).toContain("A density is a share");
    expect(high(view).getAttribute("aria-invalid")).toBe("true");
    expect(view.model.of("run")).toEqual([]);
  });

  it("follow Python, and are cleared together", () => {
    const view = mount({ query: { logit: " of", without: ["dead"], rating: [3, 5], list: "mine" }, remarks: { of: {}, lists: [["mine", 2]], fresh: 0 } });
    expect((view.$(".ng-find-logit") as HTMLInputElement).value).toBe(" of");
    expect((view.$$(".ng-filters select") as HTMLSelectElement[]).map(({ value }) => value)).toEqual(["alive", "3", "mine"]);
    (view.$$(".ng-bar-line > button") as HTMLButtonElement[]).find((one) => one.textContent === "Clear conditions")?.click();
    expect(view.model.last("run")).toMatchObject({ query: {} });
  });

  it("say why nothing fits", () => {
    const view = mount({ frame: frame({ total: 0, rows: rows(0, 0), empty: "No feature is dead." }) });
    expect(view.$(".ng-empty").textContent).toBe("No feature is dead.");
    expect(grid(view).hidden).toBe(true);
  });
});

describe("search by a prompt", () => {
  const told = { pieces: ["⟨bos⟩", "a", " b", " c"], kinds: [2, 0, 0, 0], bos: true };
  const tokens = (view: View): HTMLElement[] => view.$$(".ng-by-prompt .ng-tok");

  it("tokenises what is typed, and asks with the tokens that are chosen", () => {
    const view = mount();
    vi.useFakeTimers();
    type(view.$(".ng-text"), "a b c");
    expect(view.model.last("tokenise")).toMatchObject({ prompt: "a b c" });
    answer(view, "tokenise", told);
    expect(tokens(view).map((token) => token.textContent)).toEqual(told.pieces);
    vi.advanceTimersByTime(300);
    expect(view.model.last("run")).toMatchObject({ query: { prompt: "a b c" }, sort: "" });
    answer(view, "run");
    tokens(view)[1]?.click();
    vi.advanceTimersByTime(300);
    expect(view.model.last("run")).toMatchObject({ query: { tokens: [1] } });
    answer(view, "run");
    tokens(view)[3]?.dispatchEvent(new Event("pointerdown"));
    const strip = view.$(".ng-by-prompt .ng-tokens");
    strip.dispatchEvent(Object.assign(new Event("pointerdown"), { shiftKey: true }));
    tokens(view)[3]?.click();
    expect(tokens(view).map((token) => token.getAttribute("aria-selected"))).toEqual([null, "true", "true", "true"]);
    vi.advanceTimersByTime(300);
    const by = view.$(".ng-by-prompt select") as HTMLSelectElement;
    by.value = "sum";
    by.dispatchEvent(new Event("change"));
    answer(view, "run");
    expect(view.model.last("run")).toMatchObject({ query: { prompt: "a b c", tokens: [1, 2, 3], by: "sum" } });
  });

  it("keeps what is being typed, and follows Python afterwards", () => {
    const view = mount();
    const text = view.$(".ng-text") as HTMLTextAreaElement;
    text.focus();
    type(text, "a b c");
    view.model.set("query", { prompt: "older" });
    expect(text.value).toBe("a b c");
    view.model.set("query", { prompt: "a b c" });
    view.model.set("query", { prompt: "from Python" });
    expect(text.value).toBe("from Python");
  });

  it("tells of the tokens chosen by keys", () => {
    const view = mount({ query: { prompt: "a b c" }, frame: frame({ prompt: told }) });
    const strip = view.$(".ng-by-prompt .ng-tokens");
    strip.focus();
    key(strip, "ArrowRight");
    key(strip, "ArrowRight");
    key(strip, "Enter");
    expect(view.$("[aria-live]").textContent).toContain("“a” chosen");
    expect(view.$(".ng-which").textContent).toBe("1 of 4 tokens chosen");
  });

  it("says what to do where there is no model", () => {
    const view = mount({ attached: false });
    expect(view.$(".ng-needs").textContent).toContain("store.attach(model)");
    expect(view.$(".ng-needs").hidden).toBe(false);
    expect(view.$(".ng-grow").parentElement?.hidden).toBe(true);
  });
});

describe("without a kernel", () => {
  it("shows the first rows, says so, selects, and asks nothing", () => {
    const view = mount({ live: false });
    expect(view.$(".ng-notice").textContent).toContain("The first 500 of 5,000 rows are in this page");
    expect(view.$(".ng-filters").hidden).toBe(true);
    expect(view.$(".ng-rows-all").style.height).toBe(`${500 * 26}px`);
    row(view, 7).dispatchEvent(new MouseEvent("click", { bubbles: true }));
    (row(view, 7).children[0] as HTMLElement).click();
    expect(view.model.traits.feature).toBe(`${BASE}7`);
    view.$$("[role=columnheader]")[2]?.click();
    key(grid(view), "3");
    expect(view.model.sent).toEqual([]);
    expect(view.$$(".ng-bar-end button")[1]?.textContent).toBe("Copy 500");
  });

  it("a frame that does not fit is told in the cell", () => {
    const bad = rows(0, 3);
    bad.numbers.max = { dtype: "f32", shape: [4], data: new ArrayBuffer(4) };
    const view = mount({ live: false, frame: frame({ rows: bad }) });
    expect(view.$(".ng-error").textContent).toContain("needs 16 bytes");
  });
});

it("places the page of a feature, and lets go of it", async () => {
  const rendered: string[] = [];
  const host = { getModel: vi.fn(), getWidget: (ref: string) => Promise.resolve({ render: ({ el }: { el: HTMLElement }) => (rendered.push(ref), el.append("page"), Promise.resolve()) }) };
  const model = new (await import("./helpers.js")).FakeModel<Traits>(structuredClone({ ...TRAITS, frame: frame(), feature: `${BASE}1`, dashboard: "anywidget:x" }));
  const el = document.createElement("div");
  browser.render({ model, el, host });
  await vi.waitFor(() => expect(el.querySelector(".ng-slot")?.textContent).toBe("page"));
  model.set("chosen", [1]);
  expect(rendered).toEqual(["anywidget:x"]); // once
  model.set("feature", "");
  expect(el.querySelector<HTMLElement>(".ng-slot")?.hidden).toBe(true);
  model.set("dashboard", null);
  expect(el.querySelector(".ng-slot")?.childElementCount).toBe(0);
});

it("writes numbers so that a column reads as one", () => {
  expect([21, 0.5, 26.16, 1234.5, 0.0001, -2.5].map(digits)).toEqual(["21", "0.500", "26.2", "1,230", "1e−4", "−2.50"]);
  expect([1, 0.21, 0.00026, 2.35e-6, 0].map(share)).toEqual(["100%", "21%", "0.0260%", "2.35e−6", "0%"]);
});
