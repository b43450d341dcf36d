import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { Strip, cutBlocks, whitespaceMarks } from "../src/core/strip.js";
import { FakeObserver } from "./helpers.js";

let lifetime: AbortController;
beforeEach(() => {
  lifetime = new AbortController();
});
afterEach(() => {
  lifetime.abort();
  vi.unstubAllGlobals();
  document.body.replaceChildren();
});

const make = (): Strip => {
  const strip = new Strip(lifetime.signal);
  document.body.append(strip.element);
  return strip;
};
const words = (n: number): string[] => Array.from({ length: n }, (_, i) => ` w${i}`);
const tokens = (strip: Strip): Element[] => [...strip.element.querySelectorAll(".ng-tok")];

test("blocks cover all tokens once, and end at a line break where there is one", () => {
  const pieces = words(100_000);
  pieces[380] = "\n";
  const ends = cutBlocks(pieces);
  expect(ends[0]).toBe(381);
  expect(ends.at(-1)).toBe(100_000);
  expect(ends.every((end, k) => end > (ends[k - 1] ?? 0) && end - (ends[k - 1] ?? 0) <= 500)).toBe(true);
  expect(cutBlocks(["a", "b"])).toEqual([2]);
});

test("without an IntersectionObserver everything is mounted", () => {
  vi.stubGlobal("IntersectionObserver", undefined);
  const strip = make();
  strip.update(words(1_000), () => "");
  expect(tokens(strip)).toHaveLength(1_000);
  expect(strip.element.textContent).toBe(words(1_000).join(""));
});

describe("with an IntersectionObserver", () => {
  beforeEach(() => {
    FakeObserver.install();
  });

  test("only blocks in view have tokens; the others are placeholders with a height", () => {
    const strip = make();
    strip.update(words(100_000), () => "");
    const blocks = [...strip.element.children] as HTMLElement[];
    expect(blocks).toHaveLength(250);
    expect(tokens(strip)).toHaveLength(400);
    expect(parseFloat(blocks[100]?.style.height ?? "")).toBeGreaterThan(100);
    const observer = FakeObserver.all[0];
    expect(observer?.targets.size).toBe(250);
    if (blocks[100]) observer?.show(blocks[100], true);
    expect(blocks[100]?.firstElementChild?.getAttribute("data-i")).toBe("40000");
    expect(blocks[100]?.style.height).toBe("");
    if (blocks[0]) observer?.show(blocks[0], false);
    expect(blocks[0]?.childElementCount).toBe(0);
    expect(tokens(strip)).toHaveLength(400);
  });

  test("a placeholder keeps the height its block had", () => {
    const strip = make();
    strip.update(words(1_000), () => "");
    const first = strip.element.children[0] as HTMLElement;
    Object.defineProperty(first, "offsetHeight", { value: 321 });
    FakeObserver.all[0]?.show(first, false);
    expect(first.style.height).toBe("321px");
    strip.update(words(1_000), () => " ng-p3");
    expect(first.style.height).toBe("321px");
    strip.update(words(999), () => "");
    expect(first.style.height).not.toBe("321px");
  });

  test("reveal fills the block of a far token", () => {
    const strip = make();
    strip.update(words(5_000), () => "");
    expect(strip.token(4_321)).toBeNull();
    expect(strip.reveal(4_321)?.textContent).toBe(" w4321");
  });

  test("a token painted while its block was away comes back in the new colour", () => {
    const strip = make();
    strip.update(words(1_000), () => " ng-p1");
    strip.update(words(1_000), () => " ng-p9");
    const second = strip.element.children[1];
    if (second) FakeObserver.all[0]?.show(second, true);
    expect(strip.token(500)?.className).toBe("ng-tok ng-p9");
  });

  test("the observer ends with the signal", () => {
    make();
    lifetime.abort();
    expect(FakeObserver.all[0]?.disconnected).toBe(true);
  });
});

test("new values swap classes: same elements, same text nodes, no DOM writes but class", async () => {
  const strip = make();
  const pieces = words(300);
  strip.update(pieces, () => " ng-p1");
  const before = tokens(strip).map((token) => [token, token.firstChild]);
  const records: MutationRecord[] = [];
  const observer = new MutationObserver((list) => records.push(...list));
  observer.observe(strip.element, { childList: true, characterData: true, attributes: true, subtree: true });
  strip.update([...pieces], (i) => (i === 7 ? " ng-p32" : " ng-p1"));
  await new Promise((resolve) => setTimeout(resolve, 0));
  observer.disconnect();
  expect(tokens(strip).map((token) => [token, token.firstChild])).toEqual(before);
  expect(tokens(strip)[7]?.className).toBe("ng-tok ng-p32");
  expect(records.map(({ type, attributeName, target }) => [type, attributeName, (target as HTMLElement).dataset.i])).toEqual([
    ["attributes", "class", "7"],
  ]);
});

test("a change of text rewrites only the tokens that differ, and drops the rest", () => {
  const strip = make();
  strip.update(["a", " b", " c"], () => "");
  const [a, b] = tokens(strip);
  strip.update(["a", " x"], () => "");
  expect(tokens(strip)).toEqual([a, b]);
  expect(strip.element.textContent).toBe("a x");
  strip.update([], () => "");
  expect(tokens(strip)).toHaveLength(0);
  expect(strip.element.classList.contains("ng-none")).toBe(true);
});

test("white space is marked beside the text, never in it", () => {
  expect(whitespaceMarks("word")).toBe("");
  expect(whitespaceMarks(" word")).toBe("·");
  expect(whitespaceMarks("    ")).toBe("····");
  expect(whitespaceMarks("\n\n")).toBe("⏎⏎");
  expect(whitespaceMarks("):\n")).toBe("\u00a0\u00a0⏎");
  expect(whitespaceMarks(" {\n")).toBe("\u00a0\u00a0⏎");
  expect(whitespaceMarks("\n    x")).toBe("⏎");
  expect(whitespaceMarks("\t\tx")).toBe("⇥\t⇥");
  expect(whitespaceMarks(" 日本")).toBe("·");
  const strip = make();
  strip.update([" a", "\n", "b"], () => "");
  expect(strip.element.textContent).toBe(" a\nb");
  expect(tokens(strip).map((token) => (token as HTMLElement).dataset.ws)).toEqual(["·", "⏎", undefined]);
  strip.update(["a", "\n", "b"], () => "");
  expect((tokens(strip)[0] as HTMLElement).dataset.ws).toBeUndefined();
});

test("right-to-left text turns the arrow keys around", () => {
  const strip = make();
  strip.update(["مرحبا", " بالعالم"], () => "");
  expect(strip.direction).toBe("rtl");
  strip.update(["Hello", " بالعالم"], () => "");
  expect(strip.direction).toBe("ltr");
});

test("a token without letters has a name for those who hear it", () => {
  const strip = make();
  strip.update(["a", "  ", "\n", "\t\t ", ""], () => "");
  const names = (): (string | null)[] => tokens(strip).map((token) => token.getAttribute("aria-label"));
  expect(names()).toEqual([null, "2 spaces", "line break", "2 tabs, space", "empty"]);
  strip.update(["a", "b", "\n", "c", "d"], () => "");
  expect(names()).toEqual([null, null, "line break", null, null]);
});
