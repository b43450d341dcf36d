// A feature's page against a kernel that the test plays: turning, brushing, effects, rules, late answers, saved pages.
import { afterEach, describe, expect, test, vi } from "vitest";
import { idOf, indexOf } from "../src/core/feature-id.js";
import { cut, effectClass, readExcerpt } from "../src/views/dashboard/excerpt.js";
import dashboard from "../src/views/dashboard/index.js";
import type { Traits, WireExcerpt, WirePage } from "../src/views/dashboard/synced.js";
import { answer, buttonOf, FakeModel, greet, key, mountView, q, VERSION } from "./helpers.js";

const BASE = "m/neurons.0/A/";
const PIECES = ["<b>", " the", "\n", " cat", "s"];
const excerpt = (more: Partial<WireExcerpt> = {}): WireExcerpt => ({ g: "top", r: 0, v: 3, at: 2, d: 4, s: 10, lead: 0, t: [1, 3, 4, 2, 0], i: [1, 2], x: [1, 3], ...more });

function page(feature = 5, more: Partial<WirePage> = {}): WirePage {
  return {
    view: "", id: 0, feature, name: `${BASE}${feature}`, n_features: 9, n_tokens: 1000,
    stats: { count: 30, density: 0.03, max: 3, min: 0, mean: 0.1, mean_square: 0.2, skew: 4, kurtosis: 20, not_finite: 0, single_token_share: 0.5, norm: 1 },
    top_token: " cat", flags: [],
    histogram: { linear: { low: 0, width: 1, counts: [20, 6, 4, 0] }, log: { edges: [0.5, 1, 2, 4], counts: [10, 16, 4] } },
    promoted: [[" dog", 2]], suppressed: [[" fish", -1]],
    tokens: [[" cat", 15, 0.5, 0.9, 2]], coactive: [[7, 0.3, 0.2, 9]], neurons: [[1, 0.5, 0.6]], alignment: [[1, 0.5, 0.2]], neighbours: [[8, 0.4]],
    logits: { low: -1, width: 0.5, counts: [1, 5, 2] },
    said: { explanations: [], rating: null, note: "", lists: [] },
    groups: [{ name: "top", kept: 3, low: null, high: null, share: null }, { name: "random", kept: 1, low: null, high: null, share: null }],
    examples: [excerpt(), excerpt({ r: 1, v: 1.5, x: [0.5, 1.5] }), excerpt({ g: "random", v: 0, i: [], x: [] })],
    pieces: PIECES, kinds: [0, 0, 0, 0, 0],
    ...more,
  };
}

const traits = (more: Partial<Traits> = {}): Traits => ({
  _version: VERSION, live: true, title: "A · m", theme: "light", error: null, code: "x", attached: true, feature: `${BASE}5`, base: BASE, text: "", rule: "", predicates: [], others: [], said: {}, frame: page(), steered: null, ...more,
});

function mount(more: Partial<Traits> = {}): { model: FakeModel<Traits>; el: HTMLElement } {
  return greet(mountView(dashboard, traits(more)));
}

afterEach(() => {
  document.body.replaceChildren();
  vi.useRealTimers();
});

describe("parts", () => {
  test("ids of features", () => {
    expect(indexOf(`${BASE}12`, BASE)).toBe(12);
    expect(indexOf("m/neurons.0/B/12", BASE)).toBeNull();
    expect(indexOf(`${BASE}x`, BASE)).toBeNull();
    expect(idOf(BASE, 3)).toBe(`${BASE}3`);
    expect(idOf(BASE, null)).toBe("");
  });

  test("an excerpt has zeros where it is off and no value where nothing was measured", () => {
    const one = readExcerpt(excerpt({ m: [1, 4] }), PIECES, [0, 0, 0, 2, 0]);
    expect([...one.values]).toEqual([NaN, 1, 3, 0, NaN]);
    expect(one.pieces).toEqual([" the", " cat", "s", "\n", "<b>"]);
    expect(one.kinds).toEqual([0, 2, 0, 0, 0]);
    expect(cut(one, 1)).toEqual([1, 4]);
    expect(cut(one, 0)).toEqual([0, 5]);
    expect(() => readExcerpt(excerpt({ x: [1] }), PIECES, [])).toThrow("2 places for 1 values");
  });

  test("effects are told by sign and four sizes of the largest", () => {
    expect(effectClass(2, 2)).toBe(" ng-helped4");
    expect(effectClass(-0.5, 2)).toBe(" ng-hurt1");
    expect(effectClass(0.01, 2)).toBe("");
    expect(effectClass(null, 2)).toBe("");
    expect(effectClass(1, 0)).toBe("");
  });
});

describe("a live page", () => {
  test("shows tokens as text and never as markup", () => {
    const { el } = mount();
    const tokens = [...el.querySelectorAll(".ng-ex:first-of-type .ng-tok")];
    expect(tokens.map((token) => token.textContent)).toContain("<b>");
    expect(el.querySelector(".ng-ex b")).toBeNull();
    expect(q(el, ".ng-anchor").textContent).toBe("s");
  });

  test("turns to the next feature, round the end, and to the one that is typed", () => {
    const { model, el } = mount({ frame: page(8), feature: `${BASE}8` });
    buttonOf(el, "next feature").click();
    expect(model.of("run").at(-1)).toMatchObject({ feature: 0 });
    const field = q(el, '[aria-label="feature"]') as HTMLInputElement;
    field.value = "1.5";
    field.dispatchEvent(new Event("change"));
    expect(field.getAttribute("aria-invalid")).toBe("true");
    expect(model.of("run")).toHaveLength(1);
  });

  test("a brushed range is asked for; an answer for another feature is not drawn", () => {
    const { model, el } = mount();
    const plot = q(el, ".ng-dash-hist .ng-hist-plot");
    expect(plot.children).toHaveLength(3); // without the empty end
    plot.focus();
    key(plot, "End");
    key(plot, "Enter");
    const asked = model.of("range").at(-1);
    expect(asked).toMatchObject({ feature: 5, low: 2, high: 3, search: false });
    model.set("frame", page(6));
    answer(model, asked, { examples: [excerpt()], pieces: PIECES, kinds: [0, 0, 0, 0, 0], found: 1, tokens: 0 });
    expect(q(el, ".ng-range-said").hidden).toBe(true);
  });

  test("effects come one by one and are drawn when all are there", () => {
    const { model, el } = mount();
    buttonOf(q(el, ".ng-dash-examples"), "effect of ablation").click();
    const asked = model.of("effects").at(-1);
    expect(asked).toMatchObject({ which: [[4, 10, 5], [4, 10, 5], [4, 10, 5]] });
    answer(model, asked, { which: 0, effect: [null, 0, 1, -0.5, 0] }, false);
    answer(model, asked, { which: 1, effect: [null, 0, 0, 0, 0] }, false);
    answer(model, asked, { which: 2, effect: [null, 0, 0, 0, 0] }, false);
    answer(model, asked);
    const first = [...q(el, ".ng-ex").querySelectorAll(".ng-tok")].map((token) => /ng-(?:helped|hurt)\d/.exec(token.className)?.[0] ?? "");
    expect(first).toEqual(["", "", "ng-helped4", "ng-hurt2", ""]);
    expect(model.of("effects")).toHaveLength(1); // there are no more to ask for
    buttonOf(q(el, ".ng-dash-examples"), "effect of ablation").click();
    expect(el.querySelector(".ng-ex [class*=ng-helped]")).toBeNull();
  });

  test("a rule stacks the histogram as it is read, and a refused one takes it back", () => {
    const { model, el } = mount();
    const field = q(el, ".ng-rule") as HTMLInputElement;
    field.value = "cat";
    key(field, "Enter");
    const asked = model.of("rule").at(-1);
    const fit = { specificity: 0.5, sensitivity: 1, pearson: 0.7, tokens: 100, on: 10, holds: 5, both: 5 };
    const stacked = { linear: [[4, 4, 2, 0], [0, 4, 1, 0]], log: [[1, 1, 1], [0, 0, 0]] };
    answer(model, asked, { fit, exact: true, stacked, tokens: 100, total: 1000 }, false);
    expect(q(el, ".ng-dash-rule .ng-said").textContent).toBe("100 of 1,000 tokens read");
    const parts = [...q(el, ".ng-dash-hist").querySelectorAll<HTMLElement>(".ng-hist-part")].map((part) => part.style.height);
    expect(parts).toEqual(["0.00%", "100.00%", "50.00%"]);
    answer(model, asked, { error: { type: "InputError", message: "'(' is no regular expression.", hint: "" } });
    expect(el.querySelector(".ng-hist-stacked")).toBeNull();
    expect(q(el, ".ng-dash-rule .ng-said").textContent).toContain("no regular expression");
  });

  test("a rating that is pressed again is taken back; a failure is told", () => {
    const { model, el } = mount();
    buttonOf(el, "rate 3 of 5").click();
    answer(model, model.of("rate").at(-1));
    model.set("said", { explanations: [], rating: 3, note: "", lists: ["x"] });
    expect(el.querySelectorAll(".ng-lit")).toHaveLength(3);
    buttonOf(el, "rate 3 of 5").click();
    expect(model.of("rate").at(-1)).toMatchObject({ features: [5], value: null });
    answer(model, model.of("rate").at(-1), { error: { type: "InputError", message: "The annotations can't be written.", hint: "Elsewhere." } });
    expect(q(el, ".ng-dash-said .ng-failure").textContent).toContain("can't be written");
  });

  test("own text is asked for with each letter, the newest answer is drawn", () => {
    const { model, el } = mount();
    const area = q(el, ".ng-dash-text textarea") as HTMLTextAreaElement;
    for (const text of ["a", "a c"]) {
      area.value = text;
      area.dispatchEvent(new Event("input"));
    }
    answer(model, model.of("text")[0], { text: "a", pieces: ["a"], kinds: [0], values: [0], masked: [0], effect: null });
    answer(model, model.of("text")[1], { text: "a c", pieces: ["a", " c"], kinds: [0, 0], values: [0, 2], masked: [0, 0], effect: null });
    expect([...el.querySelectorAll(".ng-dash-text .ng-tok")].map((token) => token.textContent)).toEqual(["a", " c"]);
    expect(q(el, ".ng-dash-text .ng-said").textContent).toBe("on at 1 of 2 tokens, largest 2");
    expect(model.traits.text).toBe("a c");
  });
});

describe("without a kernel or a model", () => {
  test("a saved page brushes among what it has, and asks for nothing", () => {
    const { model, el } = mount({ live: false });
    expect(q(el, ".ng-dash-examples").textContent).toContain("1 more in the store");
    const plot = q(el, ".ng-dash-hist .ng-hist-plot");
    plot.focus();
    key(plot, "End");
    key(plot, "Enter");
    expect(q(el, ".ng-range-said").textContent).toContain("1 token among the examples that are kept");
    expect(el.querySelectorAll(".ng-ex")).toHaveLength(1);
    expect(model.of("range")).toHaveLength(0);
    for (const part of [".ng-dash-text", ".ng-dash-rule", ".ng-said-edit"]) expect(q(el, part).hidden).toBe(true);
  });

  test("a link to another feature says that its page is not there", () => {
    const { model, el } = mount({ live: false });
    model.set("feature", `${BASE}7`);
    expect(q(el, ".ng-notice").textContent).toContain("its page needs a kernel");
  });

  test("without a model it says how to attach one", () => {
    const { el } = mount({ attached: false, frame: page(5, { alignment: null, neighbours: null, logits: null }) });
    expect(q(el, ".ng-dash-steer").textContent).toContain("view.attach(store.attach(model))");
    expect(q(el, ".ng-dash-text").hidden).toBe(true);
    expect(q(el, ".ng-dash-rule").hidden).toBe(false);
  });

  test("a dead feature has no bars and says why there are no examples", () => {
    const dead = page(5, { flags: ["dead"], histogram: { linear: { low: 0, width: 1, counts: [0, 0] }, log: { edges: [], counts: [] } }, groups: [], examples: [] });
    dead.stats.count = 0;
    const { el } = mount({ frame: dead });
    expect(q(el, ".ng-flag").textContent).toBe("dead");
    expect(q(el, ".ng-dash-hist .ng-hist-top").textContent).toBe("no tokens");
    expect(q(el, ".ng-dash-examples .ng-examples").textContent).toContain("on nowhere in the corpus");
  });
});
