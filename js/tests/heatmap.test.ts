// What a person sees of the heatmap without a kernel: tokens, colours, legends, selection, keyboard, empty and error states.
import { afterEach, describe, expect, test, vi } from "vitest";
import type { Traits } from "../src/views/heatmap/synced.js";
import heatmap from "../src/views/heatmap/index.js";
import { FakeModel, type Mounted, TRAITS, VERSION, frame, key, mount, mountLive, pack, row, seq } from "./helpers.js";

let mounted: Mounted | null = null;
afterEach(() => {
  mounted?.end();
  mounted = null;
  document.body.replaceChildren();
  vi.restoreAllMocks();
});
const show = (traits: Partial<Traits>): Mounted => (mounted = mount(traits));
const classes = (m: Mounted, selector = ".ng-tok"): string[] => m.$$(selector).map(({ className }) => className);

const TOKENS = ["When", " Mary", " and", " John"];
const picture = frame(TOKENS, [row([0, 1, 2, 4])]);
const two = frame(TOKENS, [row([0, 1, 2, 4]), row([-1, 0, 0.5, 1], { label: "neurons.10 / 12", feature: 12, signed: true })], { id: 3 });

describe("a static picture", () => {
  test("tokens are text nodes with palette classes, the row has a label and a legend with numbers", () => {
    const m = show({ frame: picture });
    expect(m.root.dataset.status).toBe("static");
    expect(m.root.dataset.frameId).toBe("0");
    expect(m.$(".ng-tokens").textContent).toBe("When Mary and John");
    expect(classes(m)).toEqual(["ng-tok", "ng-tok ng-p8", "ng-tok ng-p16", "ng-tok ng-p32"]);
    expect(m.$('.ng-row[data-row="0"] .ng-row-label').textContent).toBe("neurons.10 / 77");
    expect(m.$$(".ng-legend .ng-end").map((end) => end.textContent)).toEqual(["0", "4"]);
    expect(m.$(".ng-editor").hidden).toBe(true);
    expect(m.model.sent).toEqual([]);
  });

  test("missing is hatched and never zero, masked is outlined, beyond the scale is marked; all are counted in words", () => {
    const masked = pack("u8", [5, 0, 0, 0]);
    const m = show({ frame: { ...picture, seqs: [seq(TOKENS, { masked, kinds: pack("u8", [2, 1, 0, 0]) })], rows: [row([90, NaN, 2, Infinity], { domain: [0, 4] })] } });
    expect(classes(m)).toEqual([
      "ng-tok ng-p32 ng-clip ng-special ng-masked",
      "ng-tok ng-nan ng-raw",
      "ng-tok ng-p16",
      "ng-tok ng-p32 ng-clip",
    ]);
    expect(m.$$(".ng-tally").map((tally) => tally.textContent)).toEqual(["1 masked", "2 clipped", "1 missing"]);
  });

  test("a row without any colour says so", () => {
    const m = show({ frame: frame(["a"], [row([0], { domain: [0, 0] }), row([NaN], { domain: [0, 0] })]) });
    expect(m.$$(".ng-legend").map((legend) => legend.textContent)).toEqual(["0 everywhere", "no values1 missing"]);
  });

  test("one scale for all rows, on demand", () => {
    const m = show({ frame: two });
    const ends = (): (string | null)[] => m.$$(".ng-end").map((end) => end.textContent);
    expect(ends()).toEqual(["0", "4", "−1", "1"]);
    m.model.set("scale", "shared");
    expect(ends()).toEqual(["0", "4", "−4", "4"]);
    expect(classes(m, '[data-row="1"] .ng-tok').at(-1)).toBe("ng-tok ng-p8");
  });

  test("what is left out is said", () => {
    const m = show({ frame: { ...picture, notice: "Only the first 4 of 900 tokens are shown." } });
    expect(m.$(".ng-notice").hidden).toBe(false);
    expect(m.$(".ng-notice").textContent).toContain("of 900");
  });

  test("a row without tokens, an empty frame, an empty editor", () => {
    expect(show({ frame: frame([], [row([])]) }).$(".ng-tokens").classList.contains("ng-none")).toBe(true);
    mounted?.end();
    const empty = show({});
    expect(empty.$(".ng-empty").textContent).toBe("Nothing to show yet.");
    expect(empty.$(".ng-empty").hidden).toBe(false);
    empty.end();
    expect((mounted = mountLive()).$(".ng-empty").textContent).toBe("Type some text above.");
  });
});

describe("hostile tokens", () => {
  const hostile = [
    "<script>globalThis.hacked = 1</script>", "<img src=x onerror='globalThis.hacked = 1'>", "</script>", "\u202Eevil", "a\u200Bb",
    "\u0000", "&lt;b&gt;", "\uFFFD", "\u0007", "{{x}}", "\u2028", "", " ", "a".repeat(20_000),
  ];

  test("end as text: no element is made of them, and they read as they were", () => {
    const ids = pack("i32", hostile.map((_, i) => i));
    const top = { ids: pack("i32", hostile.map(() => 0), [hostile.length, 1]), logprobs: pack("f32", hostile.map(() => -1), [hostile.length, 1]), pieces: { "0": "<b>bold</b>" } };
    const wire = frame(hostile, [row(hostile.map((_, i) => i), { label: "<i>label</i>" })]);
    const m = show({ frame: { ...wire, notice: "<u>n</u>", seqs: [seq(hostile, { ids, top })] }, title: "<s>title</s>", selected: [0, 1], error: { type: "<a>", message: "<h1>m</h1>", hint: "<h2>h</h2>" } });
    const tokens = m.$$(".ng-tok");
    expect(tokens.map((token) => token.textContent)).toEqual(hostile);
    expect(tokens.every((token) => token.childElementCount === 0)).toBe(true);
    m.$('.ng-tok[data-i="1"]').dispatchEvent(new Event("pointerover", { bubbles: true }));
    expect(m.$(".ng-tip").textContent).toContain("<img src=x");
    expect(m.$(".ng-detail").textContent).toContain("<b>bold</b>");
    expect(m.$$("script, img, b, i, u, s, a, h1, h2")).toEqual([]);
    expect((globalThis as { hacked?: unknown }).hacked).toBeUndefined();
  });
});

describe("selection", () => {
  test("a click selects and a second click lets go; the panel says what is known", () => {
    const rich = { ...picture, seqs: [seq(TOKENS, { logprobs: pack("f32", [NaN, -1, -2, -3]), entropy: pack("f32", [1, 2, 3, 4]), ids: pack("i32", [7, 8, 9, 10]) })] };
    const m = show({ frame: rich });
    m.$('.ng-tok[data-i="3"]').click();
    expect(m.model.get("selected")).toEqual([0, 3]);
    expect(m.model.saved).toBe(1);
    expect(classes(m).filter((name) => name.includes("ng-sel"))).toEqual(["ng-tok ng-p32 ng-sel"]);
    const panel = m.$(".ng-detail").textContent;
    for (const fact of ["“·John”", "value4", "token id10", "−3 nats · 5.0%", "entropy4 nats"]) expect(panel).toContain(fact);
    m.$('.ng-tok[data-i="3"]').click();
    expect(m.model.get("selected")).toBeNull();
    expect(m.$(".ng-detail").hidden).toBe(true);
    expect(m.$$(".ng-sel")).toEqual([]);
  });

  test("Python may select; a place outside the picture is not drawn", () => {
    const m = show({ frame: two });
    m.model.set("selected", [1, 2]);
    expect(m.$(".ng-sel").closest<HTMLElement>(".ng-row")?.dataset.row).toBe("1");
    m.model.set("selected", [9, 99]);
    expect(m.$$(".ng-sel")).toEqual([]);
    expect(m.$(".ng-detail").hidden).toBe(true);
  });
});

describe("keyboard", () => {
  test("one tab stop, arrows, Home and End, Enter pins, Escape lets go", () => {
    const m = show({ frame: two });
    const strips = m.$$(".ng-tokens");
    const at = (): string[] => m.$$(".ng-cur").map((t) => `${t.closest<HTMLElement>(".ng-row")?.dataset.row ?? ""}/${t.dataset.i ?? ""}`);
    const strip = (): HTMLElement => strips.find(({ tabIndex }) => tabIndex === 0) ?? m.root;
    expect(strips.map(({ tabIndex }) => tabIndex)).toEqual([0, -1]);
    strip().focus();
    key(strip(), "ArrowRight");
    expect(at()).toEqual(["0/1"]);
    key(strip(), "ArrowDown");
    expect(at()).toEqual(["1/1"]);
    expect(strips.map(({ tabIndex }) => tabIndex)).toEqual([-1, 0]);
    expect(document.activeElement).toBe(strips[1]);
    expect(m.$(".ng-cur").id).toBe(strip().getAttribute("aria-activedescendant"));
    key(strip(), "End");
    expect(at()).toEqual(["1/3"]);
    key(strip(), "ArrowRight");
    expect(at()).toEqual(["1/3"]);
    expect(m.$("[aria-live]").textContent).toContain("“·John”, neurons.10 / 12: 1");
    key(strip(), "Home");
    key(strip(), "ArrowLeft");
    expect(at()).toEqual(["1/0"]);
    expect(key(strip(), "Enter").defaultPrevented).toBe(true);
    expect(m.model.get("selected")).toEqual([1, 0]);
    expect(m.$(".ng-tip").hidden).toBe(false);
    key(strip(), "Escape");
    expect(m.model.get("selected")).toBeNull();
    expect(m.$(".ng-tip").hidden).toBe(true);
  });

  test("keys never leave the view, and every element that takes the focus is marked for JupyterLab", () => {
    const m = (mounted = mountLive({ frame: two, selected: [0, 1], code: "x" }));
    const outside = vi.fn();
    document.body.addEventListener("keydown", outside);
    for (const element of [m.$(".ng-tokens"), m.$(".ng-text"), m.$(".ng-detail-close")]) key(element, "a");
    document.body.removeEventListener("keydown", outside);
    expect(outside).not.toHaveBeenCalled();
    const focusable = m.$$("button, input, select, textarea, [tabindex]");
    expect(focusable.length).toBeGreaterThan(8);
    expect(focusable.filter((element) => element.dataset.lmSuppressShortcuts !== "true")).toEqual([]);
  });
});

describe("tooltip", () => {
  test("tells the token's value, probability and rivals, and hides when the pointer leaves", () => {
    const top = {
      ids: pack("i32", [8, 3, 1, 2, 3, 4, 0, 0], [4, 2]),
      logprobs: pack("f32", [Math.log(0.5), Math.log(0.25), -1, -2, -1, -2, -1, -2], [4, 2]),
      pieces: { "8": " Mary", "3": " the", "1": "x", "2": "y", "4": "z", "0": "!" },
    };
    const wire = { ...picture, seqs: [seq(TOKENS, { top, ids: pack("i32", [7, 8, 9, 10]), logprobs: pack("f32", [NaN, Math.log(0.5), -4, -5]) })] };
    const m = show({ frame: wire });
    const hover = (i: number): HTMLElement => {
      m.$(`.ng-tok[data-i="${i}"]`).dispatchEvent(new Event("pointerover", { bubbles: true }));
      return m.$(".ng-tip");
    };
    expect(hover(0).textContent).not.toContain("expected here");
    const tip = hover(1);
    expect(tip.hidden).toBe(false);
    expect(tip.textContent).toContain("“·Mary”");
    expect(tip.textContent).toContain("−0.693 nats · 50.0%");
    const lines = (): string[] => [...tip.querySelectorAll("tr")].map((line) => line.textContent);
    expect(lines()).toEqual(["“·Mary”◂ actual50.0%", "“·the”25.0%"]);
    hover(2);
    expect(lines()).toEqual(["“x”36.8%", "“y”13.5%", "“·and”◂ actual1.8%"]);
    m.$(".ng-rows").dispatchEvent(new Event("pointerleave"));
    expect(tip.hidden).toBe(true);
  });

  test("gives reasons, and marks quantised values as approximate", () => {
    const values = { ...pack("q8", [254, 255]), lo: 0, hi: 2 };
    const m = show({ frame: { ...frame(["a", "b"], [row([0, 0], { values, domain: [0, 1] })]), seqs: [seq(["a", "b"], { masked: pack("u8", [4, 0]) })] } });
    const tip = (i: number): string => {
      m.$(`.ng-tok[data-i="${i}"]`).dispatchEvent(new Event("pointerover", { bubbles: true }));
      return m.$(".ng-tip").textContent;
    };
    expect(tip(0)).toContain("≈ 2");
    expect(tip(0)).toContain("massive activation: not counted in the colour scale");
    expect(tip(0)).toContain("beyond the colour scale");
    expect(tip(1)).toContain("no value (NaN)");
  });
});

describe("things that go wrong", () => {
  test("the error trait is shown over the kept picture, with its hint, until the next frame", () => {
    const m = show({ frame: picture, error: { type: "SiteError", message: "no such site", hint: "Use neurons." } });
    expect(m.$(".ng-error").textContent).toBe("SiteError no such siteUse neurons.");
    expect(m.$(".ng-error").getAttribute("role")).toBe("alert");
    expect(m.$$(".ng-tok")).toHaveLength(4);
    m.model.set("frame", { ...two });
    expect(m.$(".ng-error").hidden).toBe(true);
    m.model.set("error", { type: "E", message: "again", hint: null });
    expect(m.$(".ng-error").hidden).toBe(false);
    m.model.set("error", null);
    expect(m.$(".ng-error").hidden).toBe(true);
  });

  test("a frame that contradicts itself is an error in the cell; the last picture stays", () => {
    const m = show({ frame: picture });
    m.model.set("frame", frame(["a", "b"], [row([1, 2, 3])]));
    expect(m.$(".ng-error").hidden).toBe(false);
    expect(m.$(".ng-error").textContent).toContain("rows[0].values has 3 entries for 2 tokens");
    expect(m.$$(".ng-tok")).toHaveLength(4);
    m.model.set("frame", picture);
    expect(m.$(".ng-error").hidden).toBe(true);
  });

  test("a broken first frame still gives a view, and a broken model an error", () => {
    const m = show({ frame: frame(["a", "b"], [row([1])]) });
    expect(m.$(".ng-error").hidden).toBe(false);
    expect(m.root.dataset.status).toBe("static");
    m.end();
    const model = new FakeModel(TRAITS);
    model.get = () => {
      throw new Error("cannot <read>");
    };
    const el = document.createElement("div");
    heatmap.render({ model, el });
    expect(el.querySelector(".ng-error")?.textContent).toContain("cannot <read>");
    expect(model.listeners).toBe(0);
  });

  test("another version of the package is named, with the cure", () => {
    const m = show({ frame: picture, _version: "1.2.3" });
    expect(m.root.dataset.status).toBe("stale");
    for (const word of [VERSION, "1.2.3", "Restart the kernel", "reload"]) expect(m.$(".ng-banner").textContent).toContain(word);
    expect(m.$$(".ng-tok")).toHaveLength(4);
  });
});

describe("the end", () => {
  test.each(["signal", "cleanup"])("by %s removes every listener, observer and element", (way) => {
    const lifetime = new AbortController();
    const disconnect = vi.spyOn(MutationObserver.prototype, "disconnect");
    const m = mount({ live: true, frame: two, selected: [0, 1] }, lifetime.signal);
    expect(m.model.listeners).toBeGreaterThan(10);
    if (way === "signal") lifetime.abort();
    else m.end();
    expect(m.model.listeners).toBe(0);
    expect(disconnect).toHaveBeenCalledTimes(1);
    expect(m.el.childElementCount).toBe(0);
  });

  test("a view without a signal works and ends by its cleanup", () => {
    const m = mount({ frame: picture });
    expect(m.$$(".ng-tok")).toHaveLength(4);
    m.end();
    m.model.set("frame", two);
    expect(m.el.childElementCount).toBe(0);
  });
});

test("copy as code puts the code on the clipboard, and is hidden without code", async () => {
  const writeText = vi.spyOn(navigator.clipboard, "writeText").mockResolvedValue();
  const m = show({ frame: picture, code: 'ng.TokenHeatmap(model, "x")' });
  m.$(".ng-copy").click();
  await Promise.resolve();
  expect(writeText).toHaveBeenCalledWith('ng.TokenHeatmap(model, "x")');
  m.model.set("code", "");
  expect(m.$(".ng-copy").hidden).toBe(true);
});

test("theme: the trait wins over the host", () => {
  document.body.setAttribute("data-jp-theme-light", "false");
  const m = show({ frame: picture });
  expect(m.root.dataset.theme).toBe("dark");
  m.model.set("theme", "light");
  expect(m.root.dataset.theme).toBe("light");
  document.body.removeAttribute("data-jp-theme-light");
});
