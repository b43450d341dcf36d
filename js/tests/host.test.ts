// What hosts do differently: no host, no signal, buffers of every form, messages late or early, own changes reported or not.
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { cellRuns } from "../src/core/busy.js";
import { type Packed, decodeFloats, decodeInts } from "../src/core/codec.js";
import type { Host } from "../src/core/model.js";
import beside from "../src/views/beside/index.js";
import heatmap from "../src/views/heatmap/index.js";
import type { Traits } from "../src/views/heatmap/synced.js";
import { FakeModel, TRAITS, VERSION, frame, mount, mountLive, pack, row, seq, type } from "./helpers.js";

afterEach(() => {
  vi.useRealTimers();
  document.body.replaceChildren();
});

const settle = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 0));
const bytesOf = (packed: Packed): Uint8Array => {
  const { data } = packed;
  if (typeof data === "string") throw new Error("already text");
  return ArrayBuffer.isView(data) ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength) : new Uint8Array(data);
};

describe("buffers", () => {
  const values = [1.5, -2, NaN, 3e-7];
  const FORMS: Record<string, (bytes: Uint8Array) => Packed["data"]> = {
    "a DataView that starts at an odd byte": (bytes) => {
      const room = new Uint8Array(bytes.length + 3);
      room.set(bytes, 3);
      return new DataView(room.buffer, 3);
    },
    "a Uint8Array in the middle of a message": (bytes) => {
      const room = new Uint8Array(bytes.length + 9);
      room.set(bytes, 5);
      return room.subarray(5, 5 + bytes.length);
    },
    "an ArrayBuffer": (bytes) => bytes.slice().buffer,
    "base64": (bytes) => btoa(String.fromCharCode(...bytes)),
  };
  test.each(Object.entries(FORMS))("%s", (_, form) => {
    const floats = pack("f32", values);
    expect([...decodeFloats({ ...floats, data: form(bytesOf(floats)) })]).toEqual([...decodeFloats(floats)]);
    const ints = pack("i32", [7, -9]);
    expect([...decodeInts({ ...ints, data: form(bytesOf(ints)) })]).toEqual([7, -9]);
    const wire = frame(["a", "b", "c", "d"], [{ ...row(values), values: { ...floats, data: form(bytesOf(floats)) } }], {
      seqs: [seq(["a", "b", "c", "d"])],
    });
    const m = mount({ frame: wire });
    expect(m.$$(".ng-tok").length).toBe(4);
    expect(m.$(".ng-error").hidden).toBe(true);
    m.end();
  });
  test("a text that is no base64 says so", () => {
    expect(() => decodeInts({ dtype: "u8", shape: [1], data: "§§" }, "kinds")).toThrow("kinds: data is a text that is not base64");
  });
});

describe("the context of a render", () => {
  test("without signal and host the view lives until its own end is called", () => {
    const m = mount({ frame: frame(["a"], [row([1])]) });
    expect(m.$$(".ng-tok").length).toBe(1);
    expect(m.model.listeners).toBeGreaterThan(0);
    m.end();
    expect(m.model.listeners).toBe(0);
    expect(m.el.childElementCount).toBe(0);
  });
  test("with a signal it ends with it, and a signal that is over draws nothing", () => {
    const life = new AbortController();
    const m = mount({ frame: frame(["a"], [row([1])]) }, life.signal);
    life.abort();
    expect(m.model.listeners).toBe(0);
    expect(mount({}, life.signal).el.childElementCount).toBe(0);
  });
});

describe("messages", () => {
  test("custom messages that come before any trait, or after the end, do no harm", () => {
    const m = mount({ live: true });
    m.model.emit("msg:custom", { v: 1, view: "somebody", id: 1, seq: 1, done: true });
    m.model.emit("msg:custom", "text");
    m.model.emit("msg:custom");
    m.end();
    m.model.emit("msg:custom", { v: 1, view: "x", id: 1 });
    expect(m.model.listeners).toBe(0);
  });
  test("the answer to a run may come before its frame, or after it", () => {
    const m = mountLive({ text: "a", frame: frame(["a"], [row([1])]), features: [77] });
    for (const first of ["frame", "answer"]) {
      type(m.$(".ng-text"), `${first} `);
      const run = m.model.last("run");
      const deliver = {
        frame: () => m.model.set("frame", frame([`${first} `], [row([1])], { id: run.id, view: run.view })),
        answer: () => m.model.reply(run, { seq: 1, done: true }),
      };
      for (const step of first === "frame" ? (["frame", "answer"] as const) : (["answer", "frame"] as const)) deliver[step]();
      expect(m.$(".ng-tokens").textContent).toBe(`${first} `);
      expect(m.root.dataset.status).toBe("ready");
    }
    m.end();
  });
  test("hosts that report our own change and hosts that do not end alike", () => {
    for (const echo of [true, false]) {
      const model = new FakeModel({ ...TRAITS, frame: frame(["a", "b"], [row([1, 2])]) });
      if (!echo) {
        model.set = (key, value) => {
          model.traits[key] = value;
        };
      }
      const el = document.createElement("div");
      document.body.append(el);
      const end = heatmap.render({ model, el });
      el.querySelector<HTMLElement>('.ng-tok[data-i="1"]')?.click();
      expect(model.traits.selected).toEqual([0, 1]);
      expect(el.querySelectorAll(".ng-sel").length).toBe(1);
      end();
    }
  });
});

describe("a kernel that does not answer", () => {
  let notebook: HTMLElement;
  let prompt: HTMLElement;
  beforeEach(() => {
    vi.useFakeTimers();
    notebook = document.createElement("div");
    prompt = document.createElement("div");
    prompt.className = "jp-InputPrompt";
    notebook.append(prompt);
    document.body.append(notebook);
  });
  const inNotebook = (lab: boolean): ReturnType<typeof mount> => {
    if (lab) notebook.className = "jp-Notebook";
    const m = mountLive({ text: "a", frame: frame(["a"], [row([1])]) });
    notebook.append(m.el);
    type(m.$(".ng-text"), "b");
    return m;
  };

  test("is waited for as long as a cell runs, and answers then", () => {
    prompt.textContent = "[*]:";
    const m = inNotebook(true);
    vi.advanceTimersByTime(900);
    expect(m.root.dataset.status).toBe("waiting");
    expect(m.$(".ng-status").textContent).toContain("waiting for the running cell");
    vi.advanceTimersByTime(600_000);
    expect(m.root.dataset.status).toBe("waiting");
    prompt.textContent = "[3]:";
    m.model.reply(m.model.last("run"), { seq: 1, done: true });
    expect(m.root.dataset.status).not.toBe("dead");
    expect(m.model.of("run")).toHaveLength(1);
    m.end();
  });
  test("is dead after the cell has ended and nothing comes", () => {
    prompt.textContent = "[*]:";
    const m = inNotebook(true);
    vi.advanceTimersByTime(5_000);
    prompt.textContent = "[3]:";
    vi.advanceTimersByTime(8_000);
    expect(m.root.dataset.status).toBe("dead");
    m.end();
  });
  test("is dead in four seconds where no cell runs, in half a minute where nobody can tell", () => {
    prompt.textContent = "[3]:";
    const seen = inNotebook(true);
    vi.advanceTimersByTime(4_100);
    expect(seen.root.dataset.status).toBe("dead");
    seen.end();
    notebook.className = "";
    const blind = inNotebook(false);
    vi.advanceTimersByTime(25_000);
    expect(blind.root.dataset.status).toBe("waiting");
    vi.advanceTimersByTime(10_000);
    expect(blind.root.dataset.status).toBe("dead");
    blind.end();
  });
  test("a notebook is looked for above the element only", () => {
    expect(cellRuns(document.createElement("div"))).toBeNull();
  });
});

/** A page with several models, and the host that finds them. */
function page(models: Record<string, FakeModel>): Host & { rendered: string[] } {
  const name = (ref: string): string => ref.replace("anywidget:", "");
  const rendered: string[] = [];
  const host: Host & { rendered: string[] } = {
    rendered,
    getModel: (ref) => {
      const model = models[name(ref)];
      return model ? Promise.resolve(model as never) : Promise.reject(new Error(`no model ${ref}`));
    },
    getWidget: async (ref) => {
      const model = (await host.getModel(ref)) as unknown as FakeModel;
      return {
        render: ({ el, signal }) => {
          rendered.push(name(ref));
          heatmap.render({ model, el, host, ...(signal && { signal }) });
          return Promise.resolve();
        },
      };
    },
  };
  return host;
}

const pictured = (more: Partial<Traits> = {}): FakeModel => new FakeModel({ ...TRAITS, frame: frame(["a", "b"], [row([1, 2])]), ...more });

describe("views in a view", () => {
  const open = (views: string[], host?: Host): { model: FakeModel; el: HTMLElement; end: () => void } => {
    const model = new FakeModel({ ...TRAITS, views } as unknown as Traits);
    const el = document.createElement("div");
    document.body.append(el);
    const end = beside.render({ model: model as never, el, ...(host && { host }) });
    return { model, el, end };
  };

  test("each is drawn in its slot; one that is not there is told in its place", async () => {
    const host = page({ x: pictured(), y: pictured() });
    const { el, end } = open(["anywidget:x", "anywidget:gone", "anywidget:y"], host);
    await settle();
    const slots = [...el.querySelectorAll(".ng-slot")];
    expect(slots.map((slot) => slot.querySelectorAll(".ng-tok").length)).toEqual([2, 0, 2]);
    expect(slots[1]?.querySelector('[role="alert"]')?.textContent).toContain("no model anywidget:gone");
    end();
    expect(el.querySelectorAll(".ng").length).toBe(0);
  });
  test("without a host it says what to do", () => {
    const { el, end } = open(["anywidget:x"]);
    expect(el.textContent).toContain("view.as_box()");
    end();
  });
  test("a view that stays in the list is not drawn again, one that goes is ended", async () => {
    const models = { x: pictured(), y: pictured(), z: pictured() };
    const host = page(models);
    const { model, el, end } = open(["anywidget:x", "anywidget:y"], host);
    await settle();
    const first = el.querySelector(".ng-heatmap");
    model.set("views" as never, ["anywidget:z", "anywidget:x"] as never);
    await settle();
    expect(host.rendered).toEqual(["x", "y", "z"]);
    expect([...el.querySelectorAll(".ng-heatmap")][1]).toBe(first);
    expect(models.y.listeners).toBe(0);
    expect(models.x.listeners).toBeGreaterThan(0);
    end();
    expect(models.x.listeners + models.z.listeners).toBe(0);
  });
  test("one that was taken away before it came is not drawn", async () => {
    const host = page({ x: pictured() });
    const { el, end } = open(["anywidget:x"], host);
    end();
    await settle();
    expect(host.rendered).toEqual([]);
    expect(el.childElementCount).toBe(0);
  });
});

describe("links in the page", () => {
  const linked = (to: string, more: Partial<Traits> = {}): FakeModel => pictured({ _links: [{ name: "token", refs: [`anywidget:${to}`, "anywidget:gone"] }], ...more });
  const both = async (more: Partial<Traits>): Promise<{ x: FakeModel; y: FakeModel; el: HTMLElement; sets: string[] }> => {
    const models = { x: linked("y", more), y: linked("x", more) };
    const sets: string[] = [];
    for (const [name, model] of Object.entries(models)) {
      const set = model.set;
      model.set = (key, value) => {
        if (key === "token") sets.push(`${name}=${JSON.stringify(value)}`);
        set(key, value);
      };
    }
    const host = page(models);
    const el = document.createElement("div");
    document.body.append(el);
    for (const ref of ["x", "y"]) {
      const slot = document.createElement("div");
      el.append(slot);
      await (await host.getWidget(`anywidget:${ref}`)).render({ el: slot });
    }
    return { ...models, el, sets };
  };

  test("in a page without a kernel a click in one selects in the other, once", async () => {
    const { x, y, el, sets } = await both({ _offline: true });
    el.querySelector<HTMLElement>('.ng-tok[data-i="1"]')?.click();
    await settle();
    await settle();
    expect([x.traits.token, y.traits.token]).toEqual([1, 1]);
    expect(y.traits.selected).toEqual([0, 1]);
    expect(el.querySelectorAll(".ng-sel").length).toBe(2);
    expect(sets.filter((one) => one.startsWith("x"))).toEqual(["x=1"]);
  });
  test("with a kernel the page leaves it to Python", async () => {
    const { y, el } = await both({ live: true });
    el.querySelector<HTMLElement>('.ng-tok[data-i="1"]')?.click();
    await settle();
    expect(y.traits.token).toBeNull();
  });
  test("when the kernel is gone the page takes over, with what was chosen meanwhile", async () => {
    vi.useFakeTimers();
    const { x, y, el } = await both({});
    el.querySelector<HTMLElement>('.ng-tok[data-i="1"]')?.click();
    expect(x.of("hello")).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(35_000);
    expect(y.traits.token).toBe(1);
    expect(VERSION).toBe(x.traits._version);
  });
});
