// Steer, LogitPeek and Watch against a kernel that the test plays: streams, stale tokens, sliders, marks, saved sweeps.
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { About, Slider } from "../src/core/slider.js";
import { convert, inAllUnits, readStrengths, spanOf } from "../src/core/slider.js";
import peek from "../src/views/peek/index.js";
import steer from "../src/views/steer/index.js";
import { distinct2, unmatched } from "../src/views/steer/texts.js";
import type { WireEvent } from "../src/views/steer/wire.js";
import watch from "../src/views/watch/index.js";
import { type Sent, VERSION, key, type } from "./helpers.js";

type Callback = (...args: unknown[]) => void;
const ID = "m/neurons.0/A/5";
const about: About = { id: ID, label: "A/5", what: "A, written at neurons.0", modes: ["add", "clamp", "scale", "ablate"], units: { raw: 1, max: 4, std: null, norm: 2 }, source: "store" };
const slider: Slider = { feature: ID, mode: "add", value: 0, unit: "norm", positions: "all", skip_special: true, layers: null, on: true };
const BASE = { _version: VERSION, live: true, title: "m", theme: "auto", error: null, code: "x", text: "Once", chat: false, messages: [], sliders: [slider], known: { [ID]: about }, choices: { modes: { add: "h + v·d" }, bases: [{ name: "A", size: 9 }], layers: 2, store: "A", chat: false }, feature: "" };
const STEER = { ...BASE, n: 1, max_new_tokens: 5, temperature: 0, top_p: 1, seed: 0, stop: [], tokens: [], readout: "kl", sweep: {}, frame: {} };

class Model {
  readonly sent: Sent[] = [];
  readonly #heard = new Map<string, Set<Callback>>();
  constructor(readonly traits: Record<string, unknown>) {}
  get = (name: string): unknown => this.traits[name];
  set = (name: string, value: unknown): void => {
    this.traits[name] = value;
    this.emit(`change:${name}`);
  };
  save_changes = (): void => undefined;
  send = (message: unknown): void => {
    this.sent.push(message as Sent);
  };
  on = (event: string, call: Callback): void => {
    this.#heard.set(event, (this.#heard.get(event) ?? new Set()).add(call));
  };
  off = (event: string, call: Callback): void => {
    this.#heard.get(event)?.delete(call);
  };
  emit(event: string, ...args: unknown[]): void {
    for (const call of [...(this.#heard.get(event) ?? [])]) call(...args);
  }
  last(kind: string): Sent {
    const found = this.sent.filter((message) => message.kind === kind).at(-1);
    if (!found) throw new Error(`no ${kind} was sent`);
    return found;
  }
  count(kind: string): number {
    return this.sent.filter((message) => message.kind === kind).length;
  }
  reply(to: Sent, more: object = {}): void {
    this.emit("msg:custom", { v: 1, view: to.view, id: to.id, seq: 0, done: false, ...more });
  }
}

let model: Model;
let el: HTMLElement;
let end: () => void;

function mount(view: { render: (context: never) => () => void }, traits: Record<string, unknown>): void {
  model = new Model({ ...traits });
  el = document.createElement("div");
  document.body.append(el);
  end = view.render({ model, el } as never);
  if (!traits.live) return;
  const hello = model.last("hello");
  model.reply(hello, { seq: 1, done: true, version: VERSION });
}
const $ = (selector: string): HTMLElement => {
  const found = el.querySelector<HTMLElement>(selector);
  if (!found) throw new Error(`nothing matches ${selector}`);
  return found;
};
const $$ = (selector: string): HTMLElement[] => [...el.querySelectorAll<HTMLElement>(selector)];

function event(i: number, base: string, steered: string, more: Partial<WireEvent> = {}): WireEvent {
  const side = (piece: string): WireEvent["base"] => ({ ids: [piece === "" ? -1 : piece.charCodeAt(piece.length - 1)], pieces: [piece], logprobs: [-1], ended: [false] });
  return { i, base: side(base), steered: side(steered), kl: [i / 10], plain: [-2], ranks: [[3], [1]], perplexity: [7], divergence: [null], change: i ? { "neurons.0": [0.5] } : {}, active: i ? { [ID]: [[0], [1], [2]] } : {}, chosen: [], chosen_ranks: [], ...more };
}
const texts = (): string[] => $$(".ng-half .ng-tokens").map((strip) => strip.textContent);
const move = (value: number): void => type($(".ng-range"), String(value));

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  end();
  vi.useRealTimers();
  document.body.replaceChildren();
});

describe("Steer", () => {
  test("a move asks with every setting; tokens are drawn as they come; the frame ends it", () => {
    mount(steer, STEER);
    move(0.5);
    const run = model.last("run");
    expect(run).toMatchObject({ text: "Once", n: 1, max_new_tokens: 5, sliders: [{ ...slider, value: 0.5 }] });
    model.reply(run);
    model.reply(run, { seq: 1, event: event(0, " a", " a"), prompt: { pieces: ["Once"], kinds: [0] } });
    model.reply(run, { seq: 2, event: event(1, " b", " c", { divergence: [1] }) });
    expect(texts()).toEqual([" a b", " a c"]);
    expect($(".ng-prompt .ng-tokens").textContent).toBe("Once");
    expect($$(".ng-fork").map((token) => token.textContent)).toEqual([" b", " c"]);
    expect($(".ng-fork-said").textContent).toBe("first difference at token 2");
    expect($(".ng").dataset.status).toBe("running");
    const events = [event(0, " a", " a"), event(1, " b", " c", { divergence: [1] })];
    model.set("frame", { view: run.view, id: run.id, n: 1, tokens: [], events, prompt: { pieces: ["Once"], kinds: [0] }, stopped: false });
    model.reply(run, { seq: 3, done: true });
    expect($(".ng").dataset.status).toBe("ready");
    expect($(".ng-facts-box").textContent).toContain("KL(base‖steered)0.05 nats");
  });

  test("no token of an older request is drawn, nor its frame", () => {
    mount(steer, STEER);
    move(0.1);
    const first = model.last("run");
    model.reply(first);
    model.reply(first, { seq: 1, event: event(0, "x", "x") });
    move(0.2);
    const second = model.last("run");
    expect(second.id).toBeGreaterThan(first.id);
    expect($(".ng-texts").classList.contains("ng-old")).toBe(true);
    model.reply(first, { seq: 2, event: event(1, "y", "y") });
    expect(texts()).toEqual(["x", "x"]);
    model.reply(second);
    model.reply(second, { seq: 1, event: event(0, "z", "z") });
    expect($(".ng-texts").classList.contains("ng-old")).toBe(false);
    model.set("frame", { view: first.view, id: first.id, n: 1, events: [event(0, "old", "old")], tokens: [], prompt: { pieces: [], kinds: [] } });
    expect(texts()).toEqual(["z", "z"]);
    expect($(".ng").dataset.generation).toBe(String(second.id));
  });

  test("units: what is not known is greyed with its reason, and measured on request", () => {
    mount(steer, STEER);
    const std = $$(".ng-unit option").find((option) => (option as HTMLOptionElement).value === "std") as HTMLOptionElement;
    expect(std.disabled).toBe(true);
    expect(std.title).toContain("press Measure");
    expect($(".ng-unknown").textContent).toBe("× std");
    $(".ng-measure").click();
    expect(model.last("calibrate")).toMatchObject({ features: [ID] });
    model.reply(model.last("calibrate"), { seq: 1, progress: [1, 4] });
    expect($(".ng-measure").textContent).toBe("Measuring… 25%");
    model.set("known", { [ID]: { ...about, units: { ...about.units, std: 0.5 } } });
    model.reply(model.last("calibrate"), { seq: 2, done: true });
    expect($$(".ng-unknown")).toHaveLength(0);
    expect($(".ng-measure").hidden).toBe(true);
  });

  test("a unit keeps the strength, another mode begins where nothing changes, off and remove are sent", () => {
    mount(steer, { ...STEER, sliders: [{ ...slider, value: 1 }] });
    const choose = (selector: string, value: string): void => {
      ($(selector) as HTMLSelectElement).value = value;
      $(selector).dispatchEvent(new Event("change"));
    };
    choose(".ng-unit", "max");
    const now = (): Slider => (model.last("run").sliders as Slider[])[0] ?? slider;
    expect(now()).toMatchObject({ unit: "max", value: 0.5 });
    model.reply(model.last("run"));
    choose(".ng-mode", "scale");
    expect(now()).toMatchObject({ mode: "scale", value: 1, unit: "raw" });
    model.reply(model.last("run"));
    $(".ng-on").click();
    expect(now().on).toBe(false);
    model.reply(model.last("run"));
    type($(".ng-number"), "");
    expect(now().value).toBeNull();
    model.reply(model.last("run"));
    $(".ng-slider [aria-label='remove A/5']").click();
    expect(model.last("run").sliders).toEqual([]);
  });

  test("features are found and added with their slider; problems are said there", () => {
    mount(steer, STEER);
    const query = $(".ng-query") as HTMLInputElement;
    query.value = "nonsense";
    key(query, "Enter");
    model.reply(model.last("search"), { seq: 1, done: true, error: { type: "InputError", message: "no feature", hint: "Write A/0" } });
    expect($(".ng-said").textContent).toBe("no feature Write A/0");
    const found = { ...about, id: "m/neurons.0/A/7", label: "A/7", why: "", slider: { ...slider, feature: "m/neurons.0/A/7" } };
    query.value = "A/7";
    key(query, "Enter");
    model.reply(model.last("search"), { seq: 1, done: true, found: [found] });
    expect((model.last("run").sliders as Slider[]).map((one) => one.feature)).toEqual([ID, "m/neurons.0/A/7"]);
    expect($$(".ng-slider-label").map((label) => label.textContent)).toEqual(["A/5", "A/7"]);
  });

  test("token text is text, whatever it says", () => {
    mount(steer, { ...STEER, frame: { view: "", id: 0, n: 1, tokens: ["<b>"], events: [event(0, "<img src=x onerror=alert(1)>", "<script>")], prompt: { pieces: ["<i>"], kinds: [0] } } });
    expect(el.querySelector("img, script, i, b")).toBeNull();
    expect(texts()).toEqual(["<img src=x onerror=alert(1)>", "<script>"]);
  });

  test("without a kernel: texts, readouts, and a slider through what was recorded", () => {
    const point = (value: number | null, text: string, fluent = true): object => ({ value, concept: value, perplexity: 9, distinct: 1, fluent, texts: [text] });
    const sweep = { label: "A/5", mode: "add", formula: "", unit: "norm", unit_name: "", prompt: "", temperature: 1, concept: "c", base: point(null, "plain"), points: [point(1, "one"), point(2, "two", false)], knees: [1] };
    mount(steer, { ...STEER, live: false, sweep, frame: { view: "", id: 0, n: 1, tokens: [], events: [event(0, "a", "b")], prompt: { pieces: [], kinds: [] } } });
    expect(texts()).toEqual(["a", "b"]);
    expect(($(".ng-range") as HTMLInputElement).disabled).toBe(true);
    const written = (): string[] => $$(".ng-written").map((text) => text.textContent);
    expect(written()).toEqual(["plain", "one"]);
    expect($$(".ng-knee")).toHaveLength(2);
    type($(".ng-recorded"), "1");
    expect(written()).toEqual(["plain", "two"]);
    expect($(".ng-dose").textContent).toContain("2 × ‖h‖ · not fluent");
  });

  test("keys: sliders and token strips are left alone by the notebook", () => {
    mount(steer, { ...STEER, frame: { view: "", id: 0, n: 1, tokens: [], events: [event(0, "a", "b"), event(1, "c", "d")], prompt: { pieces: [], kinds: [] } } });
    for (const field of $$("input, select, textarea, button, .ng-tokens, summary")) {
      expect(field.getAttribute("data-lm-suppress-shortcuts"), field.className).toBe("true");
    }
    const strip = $(".ng-half-steered .ng-tokens");
    key(strip, "ArrowRight");
    key(strip, "ArrowRight");
    expect($(".ng-half-steered .ng-cur").textContent).toBe("d");
    expect($(".ng-tip").textContent).toContain("untouched model");
  });
});

const open = (): HTMLTextAreaElement => {
  const details = $(".ng-settings") as HTMLDetailsElement;
  details.open = true;
  details.dispatchEvent(new Event("toggle"));
  return $(".ng-json") as HTMLTextAreaElement;
};
const press = (name: string): void => {
  const found = $$(".ng-settings button").find((one) => one.textContent === name);
  if (!found) throw new Error(`no button ${name}`);
  found.click();
};

describe("settings as JSON", () => {
  test("they are shown, follow the sliders, and what a person types stays until it is taken", () => {
    mount(steer, STEER);
    const area = open();
    expect(JSON.parse(area.value)).toMatchObject({ text: "Once", messages: [], max_new_tokens: 5, sliders: [slider] });
    move(0.5);
    expect((JSON.parse(area.value) as { sliders: Slider[] }).sliders[0]?.value).toBe(0.5);
    press("Apply");
    expect($(".ng-told").textContent).toContain("These are the present settings");
    expect(model.count("settings")).toBe(0);

    type(area, "{ nonsense");
    move(0.7);
    expect(area.value).toBe("{ nonsense");
    press("Apply");
    expect(model.last("settings").settings).toBe("{ nonsense");
    model.reply(model.last("settings"), { seq: 1, done: true, error: { type: "InputError", message: "This is no JSON.", hint: "Paste <b>settings</b>." } });
    expect($(".ng-told").textContent).toBe("This is no JSON. Paste <b>settings</b>.");
    expect(el.querySelector("b")).toBeNull();
    expect(area.getAttribute("aria-invalid")).toBe("true");
    expect(area.value).toBe("{ nonsense");
    expect($(".ng").dataset.status).not.toBe("failed");
    expect($(".ng-number")).toHaveProperty("value", "0.7");

    type(area, "{}");
    expect($(".ng-told").textContent).toBe("");
    press("Show the present ones");
    expect((JSON.parse(area.value) as { sliders: Slider[] }).sliders[0]?.value).toBe(0.7);
  });

  test("settings that are taken go into every field and are run like a move", () => {
    mount(steer, STEER);
    const area = open();
    type(area, '{"seed": 4}');
    key(area, "Enter");
    expect(model.count("settings")).toBe(0);
    area.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", ctrlKey: true, bubbles: true }));
    const ask = model.last("settings");
    const other = { ...about, id: "m/neurons.0/A/7", label: "A/7" };
    const taken = { text: "Twice", chat: false, messages: [{ role: "system", content: "Be brief." }], n: 2, max_new_tokens: 9, temperature: 1, top_p: 1, seed: 4, stop: ["."], tokens: [], sliders: [{ ...slider, feature: other.id, value: 2 }] };
    model.reply(ask, { seq: 1, done: true, settings: taken, known: { [other.id]: other } });
    expect(model.last("run")).toMatchObject(taken);
    expect(($(".ng-text") as HTMLTextAreaElement).value).toBe("Twice");
    expect($$(".ng-slider-label").map((label) => label.textContent)).toEqual(["A/7"]);
    expect($(".ng-told").textContent).toBe("Applied.");
    expect(JSON.parse(area.value)).toEqual(taken);
  });

  test("of LogitPeek and of Watch; without a kernel they can be read and not applied", () => {
    const rows = [{ token: "a", id: 3, base: 0.5, steered: 0.25, delta: -0.69, rank: 2, rank_in_base: 1 }];
    const frame = { view: "", id: 0, rows, rest: [0.5, 0.75], kl: 0.1, change: {}, active: {}, prompt: { pieces: ["a"], kinds: [0] }, resumed: true };
    mount(peek, { ...BASE, k: 10, frame });
    const area = open();
    expect(JSON.parse(area.value)).toEqual({ text: "Once", chat: false, messages: [], k: 10, sliders: [slider] });
    type(area, '{"k": 3}');
    press("Apply");
    const taken = { text: "Once", chat: false, messages: [], k: 3, sliders: [slider] };
    model.reply(model.last("settings"), { seq: 1, done: true, settings: taken, known: { [ID]: about } });
    expect(model.last("run")).toMatchObject(taken);
    end();

    const settings = { features: [ID], thresholds: [0.5], action: "mark" };
    const watched = { features: [{ id: ID, label: "A/5", limit: 0.5 }], action: "mark", value: 0, older: 0, total: 0, runs: 0, texts: [], firings: [], settings };
    mount(watch, { ...BASE, frame: watched });
    type(open(), '{"thresholds": 2}');
    press("Apply");
    expect(model.last("settings").settings).toBe('{"thresholds": 2}');
    model.set("frame", { ...watched, settings: { ...settings, thresholds: [2] } });
    model.reply(model.last("settings"), { seq: 1, done: true });
    expect(JSON.parse(($(".ng-json") as HTMLTextAreaElement).value)).toEqual({ ...settings, thresholds: [2] });
    end();

    mount(steer, { ...STEER, live: false });
    expect(open().readOnly).toBe(true);
    expect($$(".ng-settings button").filter((one) => !one.hidden).map((one) => one.textContent)).toEqual(["Copy"]);
    expect(JSON.parse(($(".ng-json") as HTMLTextAreaElement).value)).toMatchObject({ text: "Once" });
  });
});

describe("strengths of a sweep", () => {
  test("those that are typed are swept, none means the usual ones, and slips are told beside them", () => {
    mount(steer, STEER);
    const field = $(".ng-strengths") as HTMLInputElement;
    $(".ng-sweep").click();
    expect(model.last("dose")).toMatchObject({ slider: 0, values: [], n: 3 });
    model.reply(model.last("dose"), { seq: 1, done: true });
    type(field, "0.5, one");
    $(".ng-sweep").click();
    expect(model.count("dose")).toBe(1);
    expect($(".ng-slider .ng-problem").textContent).toContain("“one” is no number");
    expect(field.getAttribute("aria-invalid")).toBe("true");
    type(field, "0.5, 1 ; 2,1");
    expect($(".ng-slider .ng-problem").hidden).toBe(true);
    key(field, "Enter");
    expect(model.last("dose")).toMatchObject({ values: [0.5, 1, 2] });
    move(0.4); // the strengths are of the feature and its unit
    expect(field.value).toBe("0.5, 1 ; 2,1");
    ($(".ng-unit") as HTMLSelectElement).value = "raw";
    $(".ng-unit").dispatchEvent(new Event("change"));
    expect(field.value).toBe("");
  });

  test("numbers, signs, repeats, and too many", () => {
    expect(readStrengths("")).toEqual([]);
    expect(readStrengths(" , ")).toEqual([]);
    expect(readStrengths("−1, 1e-1 .5;0")).toEqual([-1, 0.1, 0.5, 0]);
    expect(readStrengths("2 2 2")).toEqual([2]);
    expect(readStrengths("1/2")).toContain("“1/2” is no number");
    expect(readStrengths("1, Infinity")).toContain("“Infinity” is no number");
    expect(readStrengths(Array.from({ length: 33 }, (_, i) => i).join(" "))).toContain("32 at most");
  });
});

describe("parts", () => {
  test("spans hold the value; strengths convert through raw units", () => {
    expect(spanOf(slider, about)).toEqual({ min: -1.5, max: 1.5, step: 0.01 });
    expect(spanOf({ ...slider, unit: "raw" }, about)).toMatchObject({ min: -5, max: 5 });
    expect(spanOf({ ...slider, value: 30 }, about).max).toBe(50);
    expect(spanOf({ ...slider, mode: "scale", unit: "raw", value: 1 }, about)).toMatchObject({ min: -2, max: 4 });
    expect(spanOf({ ...slider, mode: "cap" }, about).min).toBe(0);
    expect(convert(1, "norm", "max", about)).toBe(0.5);
    expect(convert(1, "norm", "std", about)).toBeNull();
    expect(inAllUnits({ ...slider, value: 2 }, about).map(({ text }) => text)).toEqual(["2 × ‖h‖", "1 × max", "× std", "4 raw"]);
    expect(inAllUnits({ ...slider, mode: "scale" }, about)).toEqual([]);
  });

  test("what has no counterpart, and repetition", () => {
    const [left, right] = unmatched([1, 2, 3, 4], [1, 9, 3, 4, 5], 1);
    expect([[...left], [...right]]).toEqual([[1], [1, 4]]);
    expect(distinct2([1, 2, 1, 2])).toBeCloseTo(2 / 3);
    expect(distinct2([1])).toBeNaN();
  });
});

test("LogitPeek draws bars and asks again on a move, the newest only", () => {
  const rows = [{ token: " <b>", id: 3, base: 0.5, steered: 0.25, delta: -0.69, rank: 2, rank_in_base: 1 }];
  const frame = { view: "", id: 0, rows, rest: [0.5, 0.75], kl: 0.1, change: { "neurons.0": 0.5 }, active: { [ID]: 1 }, prompt: { pieces: ["a"], kinds: [0] }, resumed: true };
  mount(peek, { ...BASE, k: 10, frame });
  expect($(".ng-next tbody").textContent).toContain("1 → 2");
  expect(el.querySelector("b")).toBeNull();
  expect($(".ng-sweeping").hidden).toBe(true);
  for (const value of [0.1, 0.2, 0.3]) move(value);
  expect(model.count("run")).toBe(1);
  const run = model.last("run");
  model.reply(run);
  model.set("frame", { ...frame, view: run.view, id: run.id, rows: [] });
  model.reply(run, { seq: 1, done: true });
  expect((model.last("run").sliders as Slider[])[0]?.value).toBe(0.3);
});

test("Watch marks tokens that fired and lists the firings", () => {
  const frame = {
    features: [{ id: ID, label: "A/5", limit: 0.5 }], action: "stop", value: 0, older: 2, total: 3, runs: 1,
    texts: [{ text: 0, row: 0, pieces: ["a", "b", "c"], kinds: [0, 0, 2], left_out: 4 }],
    firings: [[0, 0, 1, ID, 2], [0, 0, 2, ID, 1]],
  };
  mount(watch, { ...BASE, frame });
  expect($$(".ng-fired").map((token) => token.textContent)).toEqual(["b", "c"]);
  expect($$(".ng-firings tbody tr").map((row) => row.textContent)).toEqual(["1“c” at 2A/510.5", "1“b” at 1A/520.5"]);
  expect($(".ng-watched").textContent).toBe("A/5 > 0.5 — ends the text");
  expect($(".ng-notice").textContent).toContain("Firings shown: 2 of 3");
  expect($(".ng-notice").textContent).toContain("Texts shown: the newest 1 of 3.");
  // what is at the first token does not pale the others
  const level = (): string[] => $$(".ng-fired").map((token) => /ng-p\d+/.exec(token.className)?.[0] ?? "");
  const before = level();
  model.set("frame", { ...frame, firings: [[0, 0, 0, ID, 500], ...frame.firings] });
  expect(before.every(Boolean)).toBe(true);
  expect(level().slice(1)).toEqual(before);
  expect(level()[0]).toBe(before[0]);
});
