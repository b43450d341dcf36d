// The feature map without a canvas and with a kernel that the test plays: what is picked, caught, searched, told, coloured.
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { PAPER, contrast, luminance, parse } from "../src/core/colour.js";
import { HOLLOW, STEPS, paint, palette } from "../src/views/feature_map/colours.js";
import map from "../src/views/feature_map/index.js";
import { Picker } from "../src/views/feature_map/pick.js";
import { readFrame, valueAt } from "../src/views/feature_map/picture.js";
import { stampAll, stampOf } from "../src/views/feature_map/raster.js";
import type { Traits, WireMap } from "../src/views/feature_map/synced.js";
import { type Mounted, VERSION, greet, key, mountView, pack, type } from "./helpers.js";

// five features: a cross; the fifth has no direction; the sixth is another store's
const XY = [0, 0, 1, 0, 0, 1, -1, 0, NaN, NaN, 0, -1];

function frame(more: Partial<WireMap> = {}): WireMap {
  return {
    method: "pca", about: "PCA of directions of length 1 in neurons.0", explained: [0.25, 0.125],
    stores: [{ name: "A", n: 5 }, { name: "B", n: 1 }],
    xy: pack("f32", XY, [6, 2]),
    columns: [
      { key: "density", unit: "of tokens", title: "share", log: true, zero: -6, domain: [-4, -1], values: pack("f32", [-4, -1, -2.5, -6, NaN, -2]) },
      { key: "skew", unit: "", title: "", log: false, zero: null, domain: [-1, 3], values: pack("f32", [-1, 3, 0, 1, NaN, NaN]) },
    ],
    categories: [{ key: "firing", names: ["on", "ultralow", "dead"], titles: ["", "", "at none"], codes: pack("u8", [0, 0, 1, 2, 2, 0]), none: 2 }],
    pieces: [" the", "<b>dog", " cat"],
    top: pack("i32", [0, 1, 2, -1, -1, 0]),
    promoted: pack("i32", [1, 2, 0, 0, -1, -1, -1, -1, -1, -1, 1, -1], [6, 2]),
    explanations: { 2: "Animals" },
    notice: "1 direction is zero or not finite: not drawn.",
    ...more,
  };
}

let m: Mounted<Traits>;
function show(traits: Partial<Traits> = {}): void {
  const all: Traits = {
    _version: VERSION, live: true, title: "A", theme: "light", error: null, code: "", attached: true, method: "pca", colour: "density",
    subset: [], feature: "", base: "m/neurons.0/A/", progress: "", lists: ["mine"], frame: frame(), ...traits,
  };
  m = mountView(map, all);
  if (all.live) greet(m);
}
const plane = (): HTMLElement => m.$(".ng-plane");
const spoken = (): string => m.$(".ng-offscreen[aria-live]").textContent;
const button = (name: string): HTMLButtonElement => {
  const found = m.$$("button").find(({ textContent }) => textContent.startsWith(name));
  if (!found) throw new Error(`no button ${name}`);
  return found as HTMLButtonElement;
};
/** Where a point is in the window: 640 × 384, the cross fits its height. */
const at = (x: number, y: number): { clientX: number; clientY: number } => {
  const scale = (384 - 48) / 2;
  return { clientX: 320 + x * scale, clientY: 192 - y * scale };
};
function pointer(kind: string, x: number, y: number, more: MouseEventInit = {}): void {
  plane().dispatchEvent(new PointerEvent(kind, { bubbles: true, pointerId: 1, button: 0, ...at(x, y), ...more }));
}

beforeEach(() => {
  vi.useFakeTimers();
  Element.prototype.setPointerCapture = () => undefined;
});
afterEach(() => {
  m.end();
  vi.useRealTimers();
  document.body.replaceChildren();
});

describe("picking", () => {
  const chance = (() => {
    let seed = 7;
    return () => (seed = (seed * 16807) % 2147483647) / 2147483647;
  })();
  const xy = Float32Array.from({ length: 4000 }, (_, k) => (k % 31 === 0 ? NaN : chance() ** 3));
  for (let i = 0; i < 2000; i++) if (Number.isNaN(xy[2 * i]) || Number.isNaN(xy[2 * i + 1])) xy[2 * i] = xy[2 * i + 1] = NaN;
  const picker = new Picker(xy);
  const all = [...xy.keys()].filter((k) => k < 2000);
  const x = (i: number): number => xy[2 * i] ?? NaN;
  const y = (i: number): number => xy[2 * i + 1] ?? NaN;

  test("the nearest by the grid is the nearest of all, within the distance", () => {
    show();
    let none = 0;
    for (let k = 0; k < 300; k++) {
      const [px, py, within] = [chance() * 1.4 - 0.2, chance() * 1.4 - 0.2, chance() * 0.1];
      const away = (i: number): number => (x(i) - px) ** 2 + (y(i) - py) ** 2;
      const want = all.filter((i) => away(i) < within ** 2).sort((a, b) => away(a) - away(b))[0] ?? -1;
      expect(picker.nearest(px, py, within)).toBe(want);
      if (want < 0) none++;
    }
    expect(none).toBeGreaterThan(20);
    expect(none).toBeLessThan(280);
  });

  test("a line that crosses itself catches by even and odd; a box catches what is in it", () => {
    show();
    const square = [0.1, 0.1, 0.4, 0.1, 0.4, 0.4, 0.1, 0.4];
    const inside = all.filter((i) => x(i) > 0.1 && x(i) < 0.4 && y(i) > 0.1 && y(i) < 0.4);
    expect(picker.inside(square, 2000)).toEqual(inside);
    expect(picker.inBox({ x0: 0.1, y0: 0.1, x1: 0.4, y1: 0.4 }, 2000)).toEqual(inside);
    expect(picker.inside(square, 50)).toEqual(inside.filter((i) => i < 50));
    expect(picker.inside([...square, ...square], 2000)).toEqual([]);
  });

  test("arrow keys go to the nearest point that is mostly in that direction", () => {
    const cross = new Picker(Float32Array.from(XY));
    show();
    expect([cross.towards(0, "ArrowRight"), cross.towards(0, "ArrowLeft"), cross.towards(0, "ArrowUp"), cross.towards(0, "ArrowDown")]).toEqual([1, 3, 2, 5]);
    expect(cross.towards(1, "ArrowRight")).toBe(-1);
  });
});

describe("colours", () => {
  test("every step is seen on the paper, and lightness goes one way", () => {
    show();
    for (const theme of ["light", "dark"] as const) {
      const paper = parse(PAPER[theme]);
      for (const signed of [false, true]) for (const colour of palette(theme, signed)) expect(contrast(colour, paper)).toBeGreaterThan(3);
      const light = palette(theme, false).slice(0, STEPS).map(luminance);
      const sign = theme === "light" ? -1 : 1;
      expect(light.every((v, k) => k === 0 || sign * (v - (light[k - 1] ?? 0)) > -0.002)).toBe(true);
    }
  });

  test("no value and zero are hollow, ends are ends, a signed column has its middle at zero", () => {
    show();
    const picture = readFrame(frame());
    if (!picture) throw new Error("no picture");
    const [density, skew] = picture.columns;
    if (!density || !skew) throw new Error("no column");
    expect([...paint(picture, density, "light").entry]).toEqual([0, STEPS - 1, 24, HOLLOW, HOLLOW, 31]);
    expect([density.zeros, density.missing]).toEqual([1, 1]);
    expect([valueAt(density, 3), valueAt(density, 4), valueAt(density, 5)]).toEqual([0, NaN, 0.01]);
    const signed = [...paint(picture, skew, "light").entry];
    expect(signed[1]).toBe(STEPS - 1);
    expect(Math.abs((signed[2] ?? 0) - STEPS / 2)).toBeLessThanOrEqual(1);
    expect([...paint(picture, picture.categories[0] ?? null, "dark").entry]).toEqual([HOLLOW + 1, HOLLOW + 1, HOLLOW + 2, HOLLOW, HOLLOW, HOLLOW + 1]);
  });

  test("points are stamped where they are, and cut off at the edges", () => {
    show();
    const pixels = new Uint32Array(20 * 10).fill(0xffffffff);
    const xy = Float32Array.from([5, 5, 0, 0, NaN, NaN, 99, 99]);
    const seen = stampAll(pixels, 20, 10, xy, Uint32Array.from([0, 1, 2, 3]), () => 0xff0000ff, () => stampOf(0, 2), { scale: 1, left: 0, top: 10 });
    expect(seen).toBe(2);
    expect(pixels[5 * 20 + 5]).toBe(0xff0000ff);
    expect(pixels[5 * 20 + 19]).toBe(0xffffffff);
    const edge = pixels[5 * 20 + 7] ?? 0; // half covered
    expect(edge & 255).toBe(255);
    expect((edge >>> 8) & 255).toBeGreaterThan(90);
    expect((edge >>> 8) & 255).toBeLessThan(160);
  });
});

describe("hands", () => {
  test("pointing tells of a point, a click selects it and again lets it go", () => {
    show();
    pointer("pointermove", 1.02, 0.01);
    expect(m.$(".ng-tip").textContent).toContain("A/1");
    expect(m.$(".ng-tip").textContent).toContain("10% of tokens");
    expect(m.$$(".ng-tip b")).toEqual([]);
    expect(m.$(".ng-tip").textContent).toContain("“<b>dog”");
    pointer("pointerdown", 1, 0);
    pointer("pointerup", 1, 0);
    expect(m.model.traits.feature).toBe("m/neurons.0/A/1");
    expect(m.$(".ng-detail").textContent).toContain("A/1");
    pointer("pointerdown", 1, 0);
    pointer("pointerup", 1, 0);
    expect(m.model.traits.feature).toBe("");
    pointer("pointerdown", 0, -1); // the other store's
    pointer("pointerup", 0, -1);
    expect(m.model.traits.feature).toBe("");
    expect(spoken()).toContain("another store");
  });

  test("a drag pans, the wheel zooms once one is in the map, 0 shows all", () => {
    show();
    const wheel = (): boolean => plane().dispatchEvent(new WheelEvent("wheel", { deltaY: -300, cancelable: true, ...at(1, 0) }));
    expect(wheel()).toBe(true); // the page scrolls
    pointer("pointerdown", 0.5, 0.5);
    pointer("pointermove", 0.6, 0.5);
    pointer("pointermove", 1, 0.5);
    pointer("pointerup", 1, 0.5);
    expect(m.model.traits.subset).toEqual([]);
    pointer("pointermove", 1.5, 0); // where feature 1 is now
    expect(m.$(".ng-tip").textContent).toContain("A/1");
    plane().focus();
    expect(wheel()).toBe(false);
    key(plane(), "0");
    pointer("pointermove", 1, 0);
    expect(m.$(".ng-tip").textContent).toContain("A/1");
  });

  test("Shift and a drag, or the button, catch features; only the first store's", () => {
    show();
    const around = (more: MouseEventInit): void => {
      pointer("pointerdown", -1.2, -1.2, more);
      for (const [x, y] of [[0.4, -1.2], [0.4, 0.4], [-1.2, 0.4]] as const) pointer("pointermove", x, y, more);
      pointer("pointerup", -1.2, 0.4, more);
    };
    around({ shiftKey: true });
    expect(m.model.traits.subset).toEqual([0, 3]);
    expect(m.$(".ng-map-count").textContent).toBe("2 features selected");
    button("clear").click();
    expect(m.model.traits.subset).toEqual([]);
    expect(m.$(".ng-map-chosen").hidden).toBe(true);
    button("lasso").click();
    expect(button("lasso").getAttribute("aria-pressed")).toBe("true");
    around({});
    expect(m.model.traits.subset).toEqual([0, 3]);
    expect(button("lasso").getAttribute("aria-pressed")).toBe("false");
    button("select all in view").click();
    expect(m.model.traits.subset).toEqual([0, 1, 2, 3]);
  });

  test("the keyboard: one tab stop, arrows, Enter, plus and minus, Escape; each point is spoken", () => {
    show();
    plane().focus();
    key(plane(), "ArrowRight"); // the first key shows where one is
    expect(spoken()).toContain("A/0, density 0.01% of tokens, commonest token “·the”");
    key(plane(), "ArrowUp");
    expect(spoken()).toContain("A/2, Animals");
    key(plane(), "Enter");
    expect(m.model.traits.feature).toBe("m/neurons.0/A/2");
    key(plane(), "+");
    key(plane(), "-");
    key(plane(), "Escape");
    expect(m.$(".ng-tip").hidden).toBe(true);
    expect(m.model.traits.feature).toBe("m/neurons.0/A/2");
    key(plane(), "Escape");
    expect(m.model.traits.feature).toBe("");
    expect(plane().tabIndex).toBe(0);
    expect(plane().querySelectorAll("[tabindex]").length).toBe(0);
  });
});

describe("words", () => {
  test("search finds explanations, commonest and raised tokens; Enter goes to them; matches can be selected", () => {
    show();
    const found = (): string => m.$(".ng-map-found").textContent;
    type(m.$(".ng-map-find"), "ANIM");
    expect(found()).toBe("1 match");
    type(m.$(".ng-map-find"), "dog");
    expect(found()).toBe("3 matches"); // 1 by its token, 0 and the other store's by what they raise
    key(m.$(".ng-map-find"), "Enter");
    expect(m.$(".ng-tip").textContent).toContain("A/0");
    button("select matches").click();
    expect(m.model.traits.subset).toEqual([0, 1]);
    type(m.$(".ng-map-find"), "nothing like it");
    expect(found()).toBe("no match");
    type(m.$(".ng-map-find"), "  ");
    expect(found()).toBe("");
  });

  test("the legend has ends with units and counts what is hollow; groups are chosen by a click", () => {
    show();
    const legend = (): string => m.$(".ng-map-legend").textContent;
    expect(legend()).toContain("0.01% of tokens");
    expect(legend()).toContain("1 never on");
    expect(legend()).toContain("1 without a value");
    const by = m.$(".ng-map-by") as HTMLSelectElement;
    by.value = "firing";
    by.dispatchEvent(new Event("change"));
    expect(m.model.traits.colour).toBe("firing");
    button("dead").click();
    expect(m.model.traits.subset).toEqual([3, 4]);
    expect(legend()).toContain("◆ B");
    expect(m.$(".ng-map-about").textContent).toContain("25.0% and 12.5% of the variance");
    expect(m.$(".ng-notice").textContent).toContain("not drawn");
  });

  test("a feature without a direction says so; Python's and a link's choices are shown", () => {
    show({ feature: "m/neurons.0/A/4" });
    expect(m.$(".ng-detail").textContent).toContain("not on the map");
    m.model.set("feature", "m/neurons.0/B/2"); // of another store
    expect(m.$(".ng-detail").hidden).toBe(true);
    m.model.set("feature", "m/neurons.0/A/2");
    expect(m.$(".ng-map-said").textContent).toBe("Animals");
    m.model.set("subset", [1, 2, 3]);
    expect(m.$(".ng-map-count").textContent).toBe("3 features selected");
  });
});

describe("the kernel", () => {
  test("writes lists, and its refusal is told", () => {
    show({ subset: [2, 3] });
    const field = m.$(".ng-map-list");
    button("add to list").click();
    expect(m.model.of("list")).toEqual([]); // without a name
    type(field, "mine");
    button("add to list").click();
    const asked = m.model.last("list");
    expect([asked.name, asked.features]).toEqual(["mine", [2, 3]]);
    m.model.reply(asked);
    m.model.reply(asked, { seq: 1, done: true, name: "mine", count: 7 });
    expect(m.$(".ng-map-chosen").textContent).toContain("added; mine has 7 features");
    key(field, "Enter");
    const again = m.model.last("list");
    m.model.reply(again);
    m.model.reply(again, { seq: 1, done: true, error: { type: "InputError", message: "The folder can't be written.", hint: "" } });
    expect(m.$(".ng-map-chosen").textContent).toContain("can't be written");
  });

  test("a list that was written leaves the map where it is; another map is shown whole", () => {
    show();
    plane().focus();
    for (let k = 0; k < 6; k++) key(plane(), "+");
    const where = (): string => {
      pointer("pointermove", 0, 0);
      pointer("pointermove", 0.9, 0);
      return m.$(".ng-tip").hidden ? "" : m.$(".ng-tip").textContent;
    };
    expect(where()).toBe(""); // zoomed in: feature 1 is further away
    m.model.set("frame", frame());
    expect(where()).toBe("");
    m.model.set("frame", frame({ xy: pack("f32", [0, 0, 0.9, 0, 0, 1, -1, 0, NaN, NaN, 0, -1], [6, 2]) }));
    expect(where()).toContain("A/1");
  });

  test("no map: what to do; one being made: how far it is, and Stop", () => {
    show({ frame: {}, attached: false });
    expect(m.$(".ng-empty").textContent).toContain("attach a model: store.attach(model)");
    expect(plane().hidden).toBe(true);
    m.model.set("attached", true);
    m.model.set("progress", "UMAP of 512 directions: 40% of its epochs");
    expect(m.$(".ng-map-progress").textContent).toContain("40% of its epochs");
    m.$(".ng-map-progress button").click();
    expect(m.model.of("stop").length).toBe(1);
    m.model.set("progress", "");
    expect(m.$(".ng-map-progress").hidden).toBe(true);
    m.model.set("frame", frame());
    expect(plane().hidden).toBe(false);
  });

  test("another way to make the map is chosen where there is a model", () => {
    show();
    const how = m.$(".ng-map-how") as HTMLSelectElement;
    expect(how.closest("label")?.hidden).toBe(false);
    how.value = "umap";
    how.dispatchEvent(new Event("change"));
    expect(m.model.traits.method).toBe("umap");
    m.model.set("method", "pca"); // it was stopped
    expect(how.value).toBe("pca");
    m.model.set("attached", false);
    expect(how.closest("label")?.hidden).toBe(true);
  });

  test("without one, everything but lists works", () => {
    show({ live: false, subset: [1] });
    expect(m.$(".ng-map-form").hidden).toBe(true);
    expect(m.$(".ng-notice").textContent).toContain("Without a kernel, nothing can be added to a list");
    type(m.$(".ng-map-find"), "cat");
    expect(m.$(".ng-map-found").textContent).toBe("2 matches");
    pointer("pointerdown", 0, 1);
    pointer("pointerup", 0, 1);
    expect(m.model.traits.feature).toBe("m/neurons.0/A/2");
  });

  test("a frame that contradicts itself is an error in the cell", () => {
    show({ frame: frame({ top: pack("i32", [0, 1]) }) });
    expect(m.$(".ng-error").textContent).toContain("top has 2 entries; 6 were expected");
    m.end();
    show({ frame: frame({ categories: [{ key: "x", names: ["a"], titles: [""], codes: pack("u8", [0, 0, 0, 0, 0, 1]), none: -1 }] }) });
    expect(m.$(".ng-error").textContent).toContain("no name for 1");
  });
});
