// The explanation lab against a kernel that the test plays: edits, marks, steps, jobs, judges, saved pages.
import { afterEach, describe, expect, test } from "vitest";
import { lowerClass, lowerCss } from "../src/views/lab/halves.js";
import lab from "../src/views/lab/index.js";
import { around, homeOf, markOf, readSaid, readWindows, scalesOf, verdictOf } from "../src/views/lab/picture.js";
import { pointsOf } from "../src/views/lab/scatter.js";
import type { Traits, WireBench, WireScore, WireSimulation, WireStep, WireWindow } from "../src/views/lab/synced.js";
import { brief, gainOf, interval, scored } from "../src/views/lab/words.js";
import { answer, buttonOf, FakeModel, greet, key, mountView, q, type, VERSION } from "./helpers.js";

const BASE = "m/neurons.0/A/";
const PIECES = ["<b>", " the", "\n", " cat", "s"];
const wire = (more: Partial<WireWindow> = {}): WireWindow => ({ g: "top", d: 4, s: 10, t: [1, 3, 4, 2, 0], i: [1, 2], x: [4, 10], ...more });

function bench(feature = 5, more: Partial<WireBench> = {}): WireBench {
  return { view: "", id: 0, feature, name: `${BASE}${feature}`, n_features: 9, problem: null, largest: 10, signed: false, split: { train: 1, test: 2, trained: 3, strong: 1, random: 1 }, windows: [wire(), wire({ g: "random", d: 7, i: [], x: [] })], pieces: PIECES, kinds: [0, 0, 0, 0, 0], ...more };
}

const score = (name: string, more: Partial<WireScore> = {}): WireScore => ({ name, value: 0.5, low: 0.25, high: 0.75, windows: 2, failures: 0, reason: "", ...more });

function simulation(more: Partial<WireSimulation> = {}): WireSimulation {
  return { view: "", id: 0, feature: 5, text: "/a/ 8", simulator: "patterns", asked: true, problem: null, factor: 1, values: [{ i: [2], x: [8] }, { i: [0], x: [2] }], others: [], judged: {}, scores: [score("correlation"), score("random_only", { value: null, low: null, high: null, reason: "the feature is the same at every token of these windows" })], effects: [], ...more };
}

const step = (more: Partial<WireStep> = {}): WireStep => ({ text: "/a/ 8", author: "", kept: false, score: score("correlation"), why: "", made: "typed", gain: null, ...more });

const traits = (more: Partial<Traits> = {}): Traits => ({
  _version: VERSION, live: true, title: "A · m", theme: "light", error: null, code: "x", attached: true, feature: `${BASE}5`, base: BASE, explanation: "/a/ 8", simulator: "patterns", simulators: [["patterns", true]], explainers: ["patterns", "tokens"], scale: "one", threshold: 0.1, author: "", text: "", frame: bench(), simulation: simulation(), history: [step()], step: 0, table: { rows: [], simulator: "patterns", left_out: 0 }, others: {}, ...more,
});

function mount(more: Partial<Traits> = {}): { model: FakeModel<Traits>; el: HTMLElement } {
  return greet(mountView(lab, traits(more)));
}

const classes = (el: HTMLElement, k: number): string[] => [...(el.querySelectorAll(".ng-lab-windows .ng-ex")[k]?.querySelectorAll(".ng-tok") ?? [])].map((token) => /ng-(?:miss|alarm)/.exec(token.className)?.[0] ?? /ng-low-\w+/.exec(token.className)?.[0] ?? "");
const soon = (): Promise<void> => Promise.resolve();

afterEach(() => document.body.replaceChildren());

describe("parts", () => {
  const windows = readWindows(bench());
  const said = readSaid(simulation().values, windows);

  test("windows and simulations by token; what does not fit throws", () => {
    expect([...(windows[0]?.real ?? [])]).toEqual([0, 4, 10, 0, 0]);
    expect(windows[0]?.pieces).toEqual([" the", " cat", "s", "\n", "<b>"]);
    expect([...(said[1]?.values ?? [])]).toEqual([2, 0, 0, 0, 0]);
    expect(readSaid([], windows)).toEqual([{ values: null, why: "" }, { values: null, why: "" }]);
    expect(readSaid([{ why: "no" }, { i: [], x: [] }], windows)[0]).toEqual({ values: null, why: "no" });
    expect(() => readSaid([{ why: "no" }], windows)).toThrow("1 simulations of 2 windows");
    expect(() => readWindows(bench(5, { windows: [wire({ i: [9], x: [1] })] }))).toThrow("a value at token 9");
    expect(() => readWindows(bench(5, { windows: [wire({ x: [1] })] }))).toThrow("2 places for 1 values");
  });

  test("a miss is on and said to be off, a false alarm the reverse; the edge itself is on", () => {
    expect([markOf(1, 1, 1), markOf(1, 0.9, 1), markOf(0.9, 1, 1), markOf(0, 0, 1)]).toEqual(["", "miss", "alarm", ""]);
    const [first, second] = windows;
    if (!first || !second || !said[0] || !said[1]) throw new Error("two windows");
    expect(verdictOf(first, said[0], 1)).toEqual({ real: 10, said: 8, hits: 1, misses: 1, alarms: 0 });
    expect(verdictOf(second, said[1], 1)).toEqual({ real: 0, said: 2, hits: 0, misses: 0, alarms: 1 });
    expect(verdictOf(first, { values: null, why: "no" }, 1)).toEqual({ real: 10, said: null, hits: 0, misses: 0, alarms: 0 });
    expect(homeOf(first, said[0])).toBe(2);
    expect(homeOf(second, said[1])).toBe(0);
    expect(homeOf(second, { values: null, why: "" })).toBe(2);
    expect(around(1, 2, 9)).toEqual([0, 4]);
    expect(around(1, 0, 9)).toEqual([0, 9]);
  });

  test("one scale for both halves, or each its own", () => {
    expect(scalesOf(windows, said, 12, "one")).toEqual({ real: 12, said: 12 });
    expect(scalesOf(windows, said, 12, "own")).toEqual({ real: 10, said: 8 });
    expect(scalesOf([], [], 0, "own")).toEqual({ real: 1, said: 1 });
  });

  test("bars below grow in eight levels, by sign", () => {
    expect(lowerClass(0, 8)).toBe("");
    expect(lowerClass(NaN, 8)).toBe("");
    expect(lowerClass(0.1, 8)).toBe(" ng-low-p1");
    expect(lowerClass(4, 8)).toBe(" ng-low-p4");
    expect(lowerClass(-80, 8)).toBe(" ng-low-n8");
    const tall = [...lowerCss().matchAll(/light\] \.ng-low-p\d\{border-bottom:(\d+)px/g)].map((found) => Number(found[1]));
    expect(tall).toHaveLength(8);
    expect(tall).toEqual([...tall].sort((a, b) => a - b));
  });

  test("the scatter has a point for each token that was simulated", () => {
    expect(pointsOf(windows, said)).toHaveLength(10);
    expect(pointsOf(windows, said)[2]).toEqual([8, 10, false]);
    expect(pointsOf(windows, [{ values: null, why: "no" }, said[1] ?? { values: null, why: "" }])).toHaveLength(5);
  });

  test("words", () => {
    expect(brief("\n a  1\nb 2\n\nc 3")).toBe(" a  1  + 2 more");
    expect(interval(score("x"))).toBe("0.25 to 0.75");
    expect(interval(score("x", { low: null }))).toBe("");
    expect(scored(step({ score: null, why: "undefined: x" }))).toBe("undefined: x");
    expect(scored(step({ score: score("x", { value: 0 }) }))).toBe("0");
    expect([gainOf(null), gainOf(0.1), gainOf(-0.1)]).toEqual(["", "+0.1", "−0.1"]);
  });
});

describe("live", () => {
  test("an edit is sent, and its answer swaps the lower halves and moves the scores; tokens stay", async () => {
    const { model, el } = mount();
    expect(classes(el, 0)).toEqual(["", "ng-miss", "ng-low-p7", "", ""]);
    expect(classes(el, 1)).toEqual(["ng-alarm", "", "", "", ""]);
    expect(q(el, ".ng-lab-scores .ng-main td").textContent).toBe("0.5");
    const token = q(el, ".ng-lab-windows .ng-tok");
    type(q(el, "textarea[aria-label=explanation]"), "/b/ 3");
    const asked = model.of("run").at(-1);
    expect(asked).toMatchObject({ text: "/b/ 3" });
    model.set("simulation", simulation({ view: asked?.view ?? "", id: asked?.id ?? 0, text: "/b/ 3", values: [{ i: [1, 2], x: [3, 3] }, { i: [], x: [] }], scores: [score("correlation", { value: 0.9 })] }));
    answer(model, asked);
    await soon();
    expect(classes(el, 0)).toEqual(["", "ng-low-p3", "ng-low-p3", "", ""]);
    expect(classes(el, 1)).toEqual(["", "", "", "", ""]);
    expect(q(el, ".ng-lab-scores .ng-main td").textContent).toBe("0.9");
    expect(q(el, ".ng-lab-windows .ng-tok")).toBe(token);
    expect(q(el, ".ng-lab-count").textContent).toContain("2 hits, 0 misses, 0 false alarms in 10 tokens");
  });

  test("tokens and explanations are text and never markup", () => {
    const evil = "<img src=x onerror=alert(1)>";
    const { el } = mount({ history: [step({ text: evil, author: evil })], table: { rows: [{ ...step({ text: evil, author: evil }), now: false, random: null }], simulator: evil, left_out: 3 }, simulation: simulation({ values: [{ why: evil }, { why: evil }], problem: { type: "InputError", message: evil } }) });
    expect(el.querySelector("img, .ng-ex b")).toBeNull();
    expect(q(el, ".ng-step-text").textContent).toBe(evil);
    expect(q(el, ".ng-failures").textContent).toContain("2 windows of 2 could not be simulated");
    expect(q(el, ".ng-failures li").textContent).toBe(`${evil} (2 windows)`);
    expect(q(el, ".ng-lab-table").textContent).toContain("3 more in the store");
  });

  test("an undefined score says why, and is no number", () => {
    const { el } = mount();
    expect(q(el, ".ng-undefined").textContent).toBe("undefined: the feature is the same at every token of these windows");
  });

  test("the kernel's text is taken over unless a person has typed on", async () => {
    const { model, el } = mount();
    const box = (q(el, "textarea[aria-label=explanation]") as HTMLTextAreaElement);
    type(box, "/b/ 3");
    model.set("explanation", "/old/ 1");
    expect(box.value).toBe("/b/ 3");
    answer(model, model.of("run").at(-1));
    model.set("explanation", "/undone/ 1");
    await soon();
    expect(box.value).toBe("/undone/ 1");
  });

  test("threshold, scale, which windows and how much of them", async () => {
    const { model, el } = mount();
    const field = (q(el, ".ng-percent-field") as HTMLInputElement);
    expect(field.value).toBe("10");
    field.value = "50";
    field.dispatchEvent(new Event("change"));
    await soon();
    expect(model.get("threshold")).toBe(0.5);
    expect(classes(el, 0)).toEqual(["", "", "ng-low-p7", "", ""]);
    field.value = "0";
    field.dispatchEvent(new Event("change"));
    expect(field.getAttribute("aria-invalid")).toBe("true");
    expect(model.get("threshold")).toBe(0.5);
    buttonOf(el, "each half its own scale").click();
    await soon();
    expect(model.get("scale")).toBe("own");
    expect(classes(el, 0)[2]).toBe("ng-low-p8");
    const kind = (q(el, "[aria-label='which windows']") as HTMLSelectElement);
    kind.value = "wrong";
    kind.dispatchEvent(new Event("change"));
    expect(el.querySelectorAll(".ng-lab-windows .ng-ex")).toHaveLength(0); // at half of the largest nothing is wrong
    expect(q(el, ".ng-lab-windows .ng-empty").textContent).toBe("No window of this kind.");
    kind.value = "random";
    kind.dispatchEvent(new Event("change"));
    expect(el.querySelectorAll(".ng-lab-windows .ng-ex")).toHaveLength(1);
  });

  test("marks that are out of view are counted", () => {
    const many = Array.from({ length: 60 }, () => 1);
    const { el } = mount({ frame: bench(5, { windows: [wire({ t: many, i: [0, 59], x: [4, 10] })] }), simulation: simulation({ values: [{ i: [], x: [] }] }) });
    expect(q(el, ".ng-lab-told").textContent).toBe("2 missed · 1 out of view");
    expect(el.querySelectorAll(".ng-lab-windows .ng-ex .ng-tok")).toHaveLength(17);
  });

  test("explain is a job with progress, Stop and words where it fails", () => {
    const { model, el } = mount();
    (q(el, "[aria-label='who explains']") as HTMLSelectElement).value = "tokens";
    buttonOf(el, "Explain").click();
    const asked = model.of("explain").at(-1);
    expect(asked).toMatchObject({ by: "tokens" });
    answer(model, asked, { doing: "simulating", at: 4, of: 50 }, false);
    expect(q(el, ".ng-doing").textContent).toBe("simulating: 4 of 50");
    expect(buttonOf(el, "Explain").disabled).toBe(true);
    q(el, ".ng-lab-doing button").click();
    expect(model.of("cancel").at(-1)).toMatchObject({ target: asked?.id });
    answer(model, asked, { cancelled: true });
    expect(q(el, ".ng-doing").textContent).toBe("Stopped.");
    expect(buttonOf(el, "Explain").disabled).toBe(false);
    buttonOf(el, "Revise").click();
    expect(model.of("revise").at(-1)).toMatchObject({ by: "tokens", texts: [] });
    answer(model, model.of("revise").at(-1), { error: { type: "InputError", message: "Nothing.", hint: "Try." } });
    expect(q(el, ".ng-doing").textContent).toBe("Nothing. Try.");
    expect(q(el, ".ng-doing").classList.contains("ng-failure")).toBe(true);
  });

  test("a text of one's own is asked about, and revised with", () => {
    const { model, el } = mount();
    type(q(el, "textarea[aria-label='a text of your own']"), "my cats");
    expect(model.of("text").at(-1)).toMatchObject({ text: "my cats" });
    expect(model.get("text")).toBe("my cats");
    answer(model, model.of("text").at(-1), { error: { type: "InputError", message: "Too long." } });
    expect(q(el, ".ng-lab-counter .ng-failure").textContent).toBe("Too long.");
    buttonOf(el, "Revise").click();
    expect(model.of("revise").at(-1)).toMatchObject({ texts: ["my cats"] });
  });

  test("steps: undo, redo, a step that is pressed keeps the focus", async () => {
    const history = [step({ made: "explained", author: "tokens" }), step({ gain: 0.125 }), step({ kept: true })];
    const { model, el } = mount({ history, step: 1 });
    expect(q(el, ".ng-step-gain").textContent).toBe("+0.13");
    buttonOf(el, "undo").click();
    expect(model.of("step").at(-1)).toMatchObject({ to: 0 });
    answer(model, model.of("step").at(-1));
    buttonOf(el, "redo").click();
    expect(model.of("step").at(-1)).toMatchObject({ to: 2 });
    const third = el.querySelectorAll<HTMLButtonElement>(".ng-step")[2];
    third?.focus();
    model.set("step", 2);
    await soon();
    expect(document.activeElement).toBe(el.querySelectorAll(".ng-step")[2]);
    expect(document.activeElement).not.toBe(third);
    expect(buttonOf(el, "redo").disabled).toBe(true);
    expect(buttonOf(el, "In the store").disabled).toBe(true);
  });

  test("accept sends the author; an explanation of the table can be used", () => {
    const { model, el } = mount({ table: { rows: [{ ...step({ text: "/c/ 1", author: "ada", kept: true }), now: false, random: score("random_only", { value: 0.3 }) }, { ...step(), now: true, random: null }], simulator: "patterns", left_out: 0 } });
    (q(el, ".ng-author") as HTMLInputElement).value = "bo";
    buttonOf(el, "Accept").click();
    expect(model.of("accept").at(-1)).toMatchObject({ author: "bo" });
    answer(model, model.of("accept").at(-1));
    expect(q(el, ".ng-doing").textContent).toBe("Written to the store.");
    buttonOf(el, "use /c/ 1").click();
    expect(model.of("run").at(-1)).toMatchObject({ text: "/c/ 1" });
    expect((q(el, "textarea[aria-label=explanation]") as HTMLTextAreaElement).value).toBe("/c/ 1");
  });

  test("a judge is asked by Enter, says how far it is; lines are broken with Shift", () => {
    const { model, el } = mount({ simulators: [["patterns", true], ["judge", false]], simulator: "judge", simulation: simulation({ asked: false, values: [], scores: [] }) });
    expect(q(el, ".ng-problem").textContent).toBe("Not simulated yet: press Simulate, or Enter.");
    expect(q(el, ".ng-lab-scores tbody").textContent).toBe("not simulated yet");
    const box = q(el, "textarea[aria-label=explanation]");
    box.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", shiftKey: true, bubbles: true, cancelable: true }));
    expect(model.of("run")).toHaveLength(0);
    expect(key(box, "Enter").defaultPrevented).toBe(true);
    const asked = model.of("run").at(-1);
    expect(asked).toMatchObject({ ask: true });
    answer(model, asked, { doing: "simulating", at: 8, of: 50 }, false);
    expect(q(el, ".ng-doing").textContent).toBe("simulating: 8 of 50");
    const select = (q(el, "[aria-label='who simulates']") as HTMLSelectElement);
    select.value = "patterns";
    select.dispatchEvent(new Event("change"));
    expect(model.get("simulator")).toBe("patterns");
  });

  test("tokens by keyboard: both values are said, and what is wrong", () => {
    const { el } = mount();
    const list = q(el, ".ng-lab-windows .ng-examples");
    list.focus();
    key(list, "ArrowRight");
    key(list, "ArrowLeft");
    expect(q(el, ".ng-tip").textContent).toContain("miss: real 1 or more, simulated less");
    expect(q(el, "[aria-live=polite]").textContent).toBe("“·cat”, real 4, simulated 0, miss");
    key(list, "ArrowDown");
    expect(q(el, "[aria-live=polite]").textContent).toBe("“·the”, real 0, simulated 2, false alarm");
    key(list, "Escape");
    expect(q(el, ".ng-tip").hidden).toBe(true);
  });

  test("detection and fuzzing: asked for, then a score each and a word for each window", async () => {
    const { model, el } = mount();
    buttonOf(el, "Detection and fuzzing").click();
    const asked = model.of("judge").at(-1);
    const verdict = { window: 0, truth: true, answer: true, marked: null, why: "" };
    const judged = {
      detection: { why: "", scores: [score("detection_balanced_accuracy", { value: 0.8 }), score("detection_f1", { value: null, reason: "no answer is yes" })], verdicts: [verdict, { ...verdict, window: 1, truth: false }] },
      fuzzing: { why: "There is no window.", scores: [], verdicts: [] },
    };
    model.set("simulation", simulation({ judged }));
    answer(model, asked);
    await soon();
    const rows = [...el.querySelectorAll(".ng-lab-scores tbody tr")].map((row) => row.textContent);
    expect(rows.slice(2)).toEqual(["detection0.80.25 to 0.75", "fuzzingundefined: There is no window."]);
    expect(q(el, ".ng-lab-scores tbody tr:nth-child(3) th").title).toContain("f1 undefined: no answer is yes");
    const heads = [...el.querySelectorAll(".ng-lab-windows .ng-lab-head")].map((head) => head.lastElementChild?.textContent);
    expect(heads).toEqual(["detection right", "detection wrong"]);
    expect(buttonOf(el, "Detection and fuzzing").hidden).toBe(true);
  });

  test("an answer for a feature that is gone is not drawn", async () => {
    const { model, el } = mount();
    model.set("simulation", simulation({ feature: 6, scores: [score("correlation", { value: 0.1 })] }));
    await soon();
    expect(q(el, ".ng-lab-scores .ng-main td").textContent).toBe("0.5");
    model.set("frame", bench(6));
    await soon();
    expect(q(el, ".ng-lab-scores .ng-main td").textContent).toBe("0.1");
    expect((q(el, "[aria-label=feature]") as HTMLInputElement).value).toBe("6");
  });
});

describe("without", () => {
  test("a feature that can't be split says why, and offers nothing", () => {
    const { el } = mount({ frame: bench(5, { problem: { type: "InputError", message: "On at 3 tokens.", hint: "Harvest more." }, windows: [] }), simulation: simulation({ values: [], scores: [], asked: false }), history: [], step: -1 });
    expect(q(el, ".ng-empty:not([hidden])").textContent).toBe("On at 3 tokens. Harvest more.");
    expect(q(el, ".ng-editor .ng-controls").hidden).toBe(true);
    expect(q(el, ".ng-lab-windows").hidden).toBe(true);
  });

  test("no model: what needs it says how to attach one", () => {
    const { el } = mount({ attached: false });
    expect(q(el, ".ng-lab-counter > .ng-quiet").textContent).toContain("view.attach(store.attach(model))");
    expect(q(el, ".ng-lab-own").hidden).toBe(true);
    expect(buttonOf(el, "Revise").hidden).toBe(true);
    expect((q(el, "[aria-label='who explains']") as HTMLSelectElement).value).toBe("tokens");
  });

  test("no kernel: a picture that can be looked through, and not edited", async () => {
    const { model, el } = mount({ live: false });
    expect((q(el, "textarea[aria-label=explanation]") as HTMLTextAreaElement).readOnly).toBe(true);
    expect(q(el, ".ng-editor .ng-controls").hidden).toBe(true);
    expect(el.querySelector("button.ng-step")).toBeNull();
    expect(q(el, ".ng-notice").textContent).toBe("Editing the explanation needs a kernel.");
    expect(classes(el, 0)).toEqual(["", "ng-miss", "ng-low-p7", "", ""]);
    model.set("feature", `${BASE}7`);
    await soon();
    expect(q(el, ".ng-notice").textContent).toContain(`${BASE}7 is selected`);
  });
});
