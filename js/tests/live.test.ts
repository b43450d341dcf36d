// The live view against a kernel that the test plays: typing, requests, frames of several makers, silence, errors.
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { Traits } from "../src/views/heatmap/synced.js";
import { type Mounted, type Sent, VERSION, frame, mount, mountLive, row, type } from "./helpers.js";

let m: Mounted;
beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  m.end();
  vi.useRealTimers();
  document.body.replaceChildren();
});

const start = frame(["Hello"], [row([1])], { text: "Hello" });
const live = (traits: Partial<Traits> = {}): Mounted => (m = mountLive({ frame: start, text: "Hello", features: [77], ...traits }));
const text = (): HTMLTextAreaElement => m.$(".ng-text") as HTMLTextAreaElement;
const shown = (): string => m.$(".ng-tokens").textContent;
const status = (): string | undefined => m.root.dataset.status;

/** The kernel's whole answer to a run: acknowledged, frame, done. */
function answer(run: Sent, pieces: string[], rows = [row(pieces.map(() => 1))]): void {
  m.model.reply(run);
  m.model.set("frame", frame(pieces, rows, { id: run.id, view: run.view, features: run.features as number[] }));
  m.model.reply(run, { seq: 1, done: true });
}

describe("typing", () => {
  test("every edit asks for a run; only the newest waits; the answer is drawn", () => {
    live();
    type(text(), "Hello w");
    expect(m.model.last("run")).toMatchObject({ text: "Hello w", site: "neurons", layer: 10, features: [77] });
    type(text(), "Hello wo");
    type(text(), "Hello world");
    expect(m.model.of("run")).toHaveLength(1);
    expect(status()).toBe("running");
    answer(m.model.last("run"), ["Hello", " w"]);
    expect(m.model.of("run").map((run) => run.text)).toEqual(["Hello w", "Hello world"]);
    expect(status()).toBe("running");
    expect(text().value).toBe("Hello world");
    vi.advanceTimersByTime(85);
    answer(m.model.last("run"), ["Hello", " world"]);
    expect(status()).toBe("ready");
    expect(m.$(".ng-status").textContent).toBe("ready · 2 tokens · 85 ms");
    expect(m.root.dataset.frameId).toBe(String(m.model.last("run").id));
  });

  test("nothing is sent while an input method composes", () => {
    live();
    text().dispatchEvent(new Event("compositionstart"));
    type(text(), "に");
    type(text(), "にほ");
    expect(m.model.of("run")).toHaveLength(0);
    text().value = "日本";
    text().dispatchEvent(new Event("compositionend"));
    expect(m.model.of("run").map((run) => run.text)).toEqual(["日本"]);
  });

  test("a finished run stays running until its frame is there, but not for ever", () => {
    live();
    type(text(), "a");
    const run = m.model.last("run");
    m.model.reply(run);
    m.model.reply(run, { seq: 1, done: true });
    expect(status()).toBe("running");
    m.model.set("frame", frame(["a"], [row([1])], { id: run.id, view: run.view }));
    expect(status()).toBe("ready");
    type(text(), "ab");
    m.model.reply(m.model.last("run"), { done: true });
    vi.advanceTimersByTime(1_501);
    expect(status()).toBe("ready");
  });
});

describe("controls", () => {
  const select = (name: string): void => {
    (m.$(".ng-site") as HTMLSelectElement).value = name;
    m.$(".ng-site").dispatchEvent(new Event("change"));
  };
  const sent = (): Sent => m.model.last("run");
  const done = (): void => {
    answer(sent(), ["x"]);
  };

  test("a site of another width forgets the features and clamps the layer; the same width keeps them", () => {
    live({ layer: 29 });
    select("resid_post");
    expect(sent()).toMatchObject({ site: "resid_post", layer: 11, features: [] });
    done();
    type(m.$(".ng-features"), "5");
    done();
    select("mlp_out");
    expect(sent()).toMatchObject({ site: "mlp_out", layer: 11, features: [5] });
    done();
    select("embed");
    expect(sent()).toMatchObject({ site: "embed", layer: 0 });
    expect(m.$(".ng-field-layer").hidden).toBe(true);
  });

  test("number and range of the layer move together; impossible layers are explained and not sent", () => {
    live();
    type(m.$(".ng-layer-range"), "12");
    expect((m.$(".ng-layer") as HTMLInputElement).value).toBe("12");
    expect(sent().layer).toBe(12);
    done();
    for (const wrong of ["", "30", "1.5"]) {
      type(m.$(".ng-layer"), wrong);
      expect(m.$(".ng-problem").hidden, wrong).toBe(false);
    }
    expect(m.model.of("run")).toHaveLength(1);
  });

  test("features: lists, empty for the strongest, and problems said beside the field", () => {
    live();
    type(m.$(".ng-features"), "77, 12;77 400");
    expect(sent().features).toEqual([77, 12, 400]);
    done();
    for (const [wrong, why] of [["77, x", "“x”"], ["1536", "0 to 1535"], ["-1", "“-1”"]] as const) {
      type(m.$(".ng-features"), wrong);
      expect(m.$(".ng-problem").textContent).toContain(why);
      expect(m.$(".ng-features").getAttribute("aria-invalid")).toBe("true");
    }
    expect(m.model.of("run")).toHaveLength(1);
    type(m.$(".ng-features"), "");
    expect(sent().features).toEqual([]);
    expect(m.$(".ng-problem").hidden).toBe(true);
  });

  test("a row can be removed while there is another", () => {
    const rows = [row([1], { feature: 77 }), row([2], { feature: 12, label: "neurons.10 / 12" })];
    live({ frame: frame(["Hello"], rows), features: [] });
    m.$('.ng-row[data-row="0"] .ng-row-remove').click();
    expect(sent().features).toEqual([12]);
    expect((m.$(".ng-features") as HTMLInputElement).value).toBe("12");
    answer(sent(), ["Hello"], [row([2], { feature: 12 })]);
    expect(m.$(".ng-row-remove").hidden).toBe(true);
  });

  test("rows are kept, let go, moved and removed; the kept ones are a list of their own", () => {
    const of = (i: number, more = {}): ReturnType<typeof row> => row([i], { feature: i, key: `neurons.10/${i}`, label: `neurons.10 / ${i}`, ...more });
    const surprise = row([1], { feature: null, key: "surprise", label: "surprise (nats)", locked: true });
    const other = row([3], { feature: 3, key: "mlp_out.2/3", label: "mlp_out.2 / 3", locked: true });
    const show = (rows: ReturnType<typeof row>[]): void => {
      live({ frame: frame(["Hello"], rows, { features: [77, 12] }), features: [77, 12], locked: ["surprise", "mlp_out.2/3"] });
    };
    const press = (r: number, name: string): void => m.$(`.ng-row[data-row="${r}"] [aria-label^="${name} "]`).click();
    const asked = (): unknown[] => [sent().locked, sent().features];
    const all = [surprise, other, of(77), of(12)];

    show(all);
    expect(m.$('.ng-row[data-row="0"] .ng-row-lock').getAttribute("aria-pressed")).toBe("true");
    expect(m.$('.ng-row[data-row="2"] .ng-row-lock').getAttribute("aria-pressed")).toBe("false");
    press(2, "keep");
    expect(asked()).toEqual([["surprise", "mlp_out.2/3", "neurons.10/77"], [12]]);

    show(all);
    press(0, "move down");
    expect(asked()).toEqual([["mlp_out.2/3", "surprise"], [77, 12]]);
    show(all);
    press(3, "move up");
    expect(asked()).toEqual([["surprise", "mlp_out.2/3"], [12, 77]]);
    for (const [r, name] of [[0, "move up"], [1, "move down"], [2, "move up"], [3, "move down"]] as const) {
      expect((m.$(`.ng-row[data-row="${r}"] [aria-label^="${name} "]`) as HTMLButtonElement).disabled, `${r} ${name}`).toBe(true);
    }

    show(all);
    press(1, "keep"); // of another site: it goes
    expect(asked()).toEqual([["surprise"], [77, 12]]);
    show([surprise, of(5, { locked: true }), of(77)]);
    press(1, "keep"); // of this site: it stays, as one of the others
    expect(asked()).toEqual([["surprise"], [5, 77]]);
    show([surprise, of(77)]);
    expect(m.$('.ng-row[data-row="1"] .ng-row-remove').hidden).toBe(true);
    press(0, "remove");
    expect(asked()).toEqual([[], [77]]);
  });

  test("a quantity is added once, above the features", () => {
    live({ locked: ["rank"] });
    const add = m.$(".ng-add") as HTMLSelectElement;
    expect([...add.options].map(({ value }) => value)).toEqual(["", "surprise"]);
    add.value = "surprise";
    add.dispatchEvent(new Event("change"));
    expect(sent().locked).toEqual(["rank", "surprise"]);
    expect(add.hidden).toBe(true);
  });

  test("a picture without a kernel has no buttons on its rows", () => {
    m = mount({ frame: frame(["Hello"], [row([1], { key: "neurons.10/77" }), row([2], { key: "neurons.10/12" })]) });
    for (const button of m.root.querySelectorAll<HTMLElement>(".ng-row-tools button")) expect(button.hidden).toBe(true);
  });

  test("Stop shows after 400 ms and cancels", () => {
    live();
    type(text(), "long");
    m.model.reply(sent());
    vi.advanceTimersByTime(390);
    expect(m.$(".ng-stop").hidden).toBe(true);
    vi.advanceTimersByTime(20);
    expect(m.$(".ng-stop").hidden).toBe(false);
    m.$(".ng-stop").click();
    expect(m.model.last("cancel").target).toBe(sent().id);
    m.model.reply(sent(), { done: true, cancelled: true });
    expect(m.$(".ng-stop").hidden).toBe(true);
    expect(m.$(".ng-status").textContent).toContain("stopped");
    expect(shown()).toBe("Hello");
  });
});

describe("frames", () => {
  test("an older frame of ours is never drawn after a newer one", () => {
    live();
    type(text(), "a");
    const { id, view } = m.model.last("run");
    const ours = (word: string, n: number): void => {
      m.model.set("frame", frame([word], [row([1])], { view, id: n }));
    };
    ours("new", id + 1);
    ours("old", id);
    expect(shown()).toBe("new");
    expect(m.root.dataset.frameId).toBe(String(id + 1));
    ours("same", id + 1);
    expect(shown()).toBe("same");
  });

  test("a frame made by Python, or another view, takes the editor along", () => {
    live();
    m.model.set("frame", frame([" by", " Python"], [row([1, 2])], { site: "resid_post", layer: 3, features: [5, 6] }));
    expect(shown()).toBe(" by Python");
    expect(text().value).toBe(" by Python");
    expect((m.$(".ng-site") as HTMLSelectElement).value).toBe("resid_post");
    expect((m.$(".ng-layer") as HTMLInputElement).value).toBe("3");
    expect((m.$(".ng-features") as HTMLInputElement).value).toBe("5, 6");
    m.model.set("frame", frame(["other"], [row([1])], { view: "another", id: 1 }));
    expect(text().value).toBe("other");
    expect(m.model.of("run")).toHaveLength(0);
  });

  test("but not while a newer draft of ours is outstanding", () => {
    live();
    type(text(), "my draft");
    m.model.set("frame", frame(["Python's"], [row([1])]));
    m.model.set("text", "Python's");
    expect(shown()).toBe("Python's");
    expect(text().value).toBe("my draft");
    answer(m.model.last("run"), ["my", " draft"]);
    expect(shown()).toBe("my draft");
    m.model.set("text", "set by Python");
    expect(text().value).toBe("set by Python");
  });

  test("values alone keep every token element", () => {
    live();
    const token = m.$(".ng-tok");
    m.model.set("frame", frame(["Hello"], [row([0], { domain: [0, 1] })], { id: 9 }));
    expect(m.$(".ng-tok")).toBe(token);
    expect(token.className).toBe("ng-tok");
  });
});

describe("a silent kernel", () => {
  test("is told, the picture stays, and the newest draft goes out when it speaks", () => {
    live();
    type(text(), "a");
    type(text(), "ab");
    vi.advanceTimersByTime(4_001);
    expect(status()).toBe("waiting"); // nobody can tell whether a cell is running
    vi.advanceTimersByTime(30_000);
    expect(status()).toBe("dead");
    expect(m.$(".ng-banner").textContent).toContain("The kernel does not answer: a cell is running");
    expect(m.$(".ng-status").textContent).toBe("kernel not answering");
    expect(shown()).toBe("Hello");
    type(text(), "abc");
    const hellos = m.model.of("hello").length;
    m.$(".ng-retry").click();
    expect(m.model.of("hello").length).toBe(hellos + 1);
    m.model.reply(m.model.last("hello"), { done: true, version: VERSION });
    expect(status()).toBe("running");
    expect(m.$(".ng-banner").hidden).toBe(true);
    expect(m.model.last("run").text).toBe("abc");
    answer(m.model.last("run"), ["abc"]);
    expect(shown()).toBe("abc");
  });

  test("a kernel that is busy with a cell is waited for, before it is called silent", () => {
    live();
    type(text(), "a");
    expect(status()).toBe("running");
    vi.advanceTimersByTime(801);
    expect(status()).toBe("waiting");
    expect(m.$(".ng-status").textContent).toBe("waiting for the running cell…");
    m.model.reply(m.model.last("run"));
    expect(status()).toBe("running");
    answer(m.model.last("run"), ["a"]);
    expect(status()).toBe("ready");
  });

  test("a comm that throws is dead at once", () => {
    live();
    m.model.broken = true;
    type(text(), "a");
    expect(status()).toBe("dead");
    m.model.broken = false;
    m.model.emit("comm_live_update");
    m.model.reply(m.model.last("hello"), { done: true, version: VERSION });
    expect(m.model.last("run").text).toBe("a");
  });

  test("the pointer and the focus ask at most once in ten seconds, nothing asks by itself", () => {
    live();
    const enter = (): number => {
      m.root.dispatchEvent(new Event("pointerenter"));
      m.root.dispatchEvent(new Event("focusin"));
      return m.model.of("hello").length;
    };
    expect(enter()).toBe(1);
    vi.advanceTimersByTime(60_000);
    expect(m.model.of("hello")).toHaveLength(1);
    expect(enter()).toBe(2);
  });

  test("hello names a kernel of another version", () => {
    live();
    vi.advanceTimersByTime(10_001);
    m.root.dispatchEvent(new Event("pointerenter"));
    m.model.reply(m.model.last("hello"), { done: true, version: "0.0.1" });
    expect(status()).toBe("stale");
    expect(m.$(".ng-banner").textContent).toContain("0.0.1");
  });
});

describe("errors", () => {
  test("of a run are shown over the kept picture and go with the next good frame", () => {
    live();
    type(text(), "too long");
    m.model.reply(m.model.last("run"));
    m.model.reply(m.model.last("run"), { seq: 1, done: true, error: { type: "ContextError", message: "3000 tokens", hint: "Shorten it." } });
    expect(m.$(".ng-error").textContent).toBe("ContextError 3000 tokensShorten it.");
    expect(shown()).toBe("Hello");
    expect(status()).toBe("failed");
    type(text(), "short");
    answer(m.model.last("run"), ["short"]);
    expect(m.$(".ng-error").hidden).toBe(true);
  });

  test("messages of other views change nothing", () => {
    live();
    type(text(), "a");
    const run = m.model.last("run");
    m.model.reply({ ...run, view: "another" }, { done: true, error: { type: "E", message: "theirs" } });
    expect(m.$(".ng-error").hidden).toBe(true);
    expect(status()).toBe("running");
  });
});

describe("detail", () => {
  const select = (): Sent => {
    m.$('.ng-tok[data-i="0"]').click();
    return m.model.last("detail");
  };

  test("asks for the exact value and the strongest features; a chip adds a row", () => {
    live();
    const request = select();
    expect(request).toMatchObject({ row: 0, position: 0 });
    m.model.reply(request);
    m.model.reply(request, { done: true, value: 1.2345678, strongest: [{ feature: 812, key: "neurons.10/812", value: 3.14159 }, { feature: 77, key: "neurons.10/77", value: -2 }] });
    expect(m.$(".ng-exact").textContent).toBe("1.234568");
    const chips = m.$$(".ng-chip") as HTMLButtonElement[];
    expect(chips.map((chip) => chip.textContent)).toEqual(["812 +3.14", "77 −2"]);
    expect(chips.map((chip) => chip.disabled)).toEqual([false, true]);
    expect(m.model.of("detail")).toHaveLength(1);
    chips[0]?.click();
    expect(m.model.last("run").features).toEqual([77, 812]);
    answer(m.model.last("run"), ["Hello"]);
    expect(m.model.of("detail")).toHaveLength(2);
    // one that lives elsewhere is kept beside the rows of this site
    m.model.reply(m.model.last("detail"), { done: true, value: 1, strongest: [{ feature: 5, key: "resid_post.3/5", value: 1 }] });
    m.$(".ng-chip").click();
    expect(m.model.last("run").locked).toEqual(["resid_post.3/5"]);
  });

  test("a failure shows its message in the panel only", () => {
    live();
    const request = select();
    m.model.reply(request, { done: true, error: { type: "E", message: "gone", hint: "run again" } });
    expect(m.$(".ng-detail").textContent).toContain("gone run again");
    expect(m.$(".ng-error").hidden).toBe(true);
  });

  test("an answer for a token that is no longer selected is dropped", () => {
    live({ frame: frame(["Hello", " you"], [row([1, 2])]) });
    const first = select();
    m.$('.ng-tok[data-i="1"]').click();
    m.model.reply(first, { done: true, value: 111, strongest: [] });
    expect(m.$(".ng-exact").textContent).toBe("…");
    expect(m.model.last("detail").position).toBe(1);
    m.model.reply(m.model.last("detail"), { done: true, value: null, strongest: [] });
    expect(m.$(".ng-exact").textContent).toBe("no value (NaN)");
  });
});

test("traits set by Python move the controls; a list of features stays as it was written", () => {
  live();
  type(m.$(".ng-features"), "77,12");
  answer(m.model.last("run"), ["Hello"]);
  m.model.set("features", [77, 12]);
  expect((m.$(".ng-features") as HTMLInputElement).value).toBe("77,12");
  m.model.set("features", [3]);
  m.model.set("layer", 4);
  expect((m.$(".ng-features") as HTMLInputElement).value).toBe("3");
  expect((m.$(".ng-layer") as HTMLInputElement).value).toBe("4");
  expect(m.model.of("run")).toHaveLength(1);
});
