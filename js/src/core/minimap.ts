/**
 * The whole of a row in one line: a canvas whose columns show the strongest value of a stretch of tokens, with the part
 * that is on screen framed. In: a row, a theme, what is visible. Out: an element; a press or a drag asks for a token.
 */
import { type Entry, PAPER, palette, type Theme } from "./colour.js";
import { h } from "./dom.js";
import type { Row } from "./picture.js";

const HEIGHT = 14; // px

export class Minimap {
  readonly element: HTMLElement;
  readonly #canvas = h("canvas");
  readonly #window = h("div", { class: "ng-window", hidden: true });
  readonly #seen: IntersectionObserver | null;
  #row: Row | null = null;
  #domain: Row["domain"] | null = null; // what the row was drawn with
  #theme: Theme = "light";
  #visible: readonly [number, number] = [0, 0];
  #marks: readonly number[] = [];
  #stale = false; // what the canvas shows is not what it should
  #frame = 0;

  constructor(signal: AbortSignal, go: (token: number) => void) {
    // for the pointer only: the keyboard has Home, End and find
    const title = "the whole text: the strongest value of each stretch; press to go there";
    const element = (this.element = h("div", { class: "ng-minimap", "aria-hidden": "true", title }, this.#canvas, this.#window));
    const there = (event: PointerEvent): void => {
      const box = element.getBoundingClientRect();
      const n = this.#row?.values.length ?? 0;
      if (n) go(Math.max(0, Math.min(n - 1, Math.floor(((event.clientX - box.left) / box.width) * n))));
    };
    element.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      element.setPointerCapture(event.pointerId);
      there(event);
    });
    element.addEventListener("pointermove", (event) => {
      if (element.hasPointerCapture(event.pointerId)) there(event);
    });
    // of many rows only those on screen are drawn
    this.#seen =
      typeof IntersectionObserver === "function"
        ? new IntersectionObserver(([entry]) => {
            if (entry?.isIntersecting && this.#stale) this.#draw();
          })
        : null;
    const sizes = typeof ResizeObserver === "function" ? new ResizeObserver(() => this.#later()) : null;
    sizes?.observe(element);
    signal.addEventListener("abort", () => {
      this.#seen?.disconnect();
      sizes?.disconnect();
      cancelAnimationFrame(this.#frame);
    });
  }

  show(row: Row, theme: Theme): void {
    const drawn = this.#row;
    const same = drawn === row && this.#theme === theme && drawn.domain === this.#domain;
    this.#row = row;
    this.#theme = theme;
    this.#domain = row.domain;
    if (!same) this.#later();
  }

  /** Frames the tokens that are on screen. */
  frame(visible: readonly [number, number]): void {
    const [from, to] = (this.#visible = visible);
    const n = this.#row?.values.length ?? 0;
    this.#window.hidden = to <= from || to - from >= n;
    this.#window.style.left = `${(100 * from) / n}%`;
    this.#window.style.width = `${(100 * (to - from)) / n}%`;
  }

  /** Marks places: where something was found. */
  mark(tokens: readonly number[]): void {
    if (tokens.length === 0 && this.#marks.length === 0) return;
    this.#marks = tokens;
    this.#later();
  }

  #later(): void {
    this.#stale = true;
    cancelAnimationFrame(this.#frame);
    this.#frame = requestAnimationFrame(() => {
      if (!this.#seen) {
        this.#draw();
        return;
      }
      // observing anew makes the observer tell at once whether it is on screen
      this.#seen.unobserve(this.element);
      this.#seen.observe(this.element);
    });
  }

  #draw(): void {
    const canvas = this.#canvas;
    const row = this.#row;
    const width = this.element.clientWidth;
    const context = canvas.getContext("2d");
    if (!row || !width || !context) return;
    this.#stale = false;
    const ratio = window.devicePixelRatio || 1;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(HEIGHT * ratio);
    context.scale(ratio, ratio);
    const n = row.values.length;
    const bins = Math.min(width, n);
    const wide = width / bins;
    context.fillStyle = PAPER[this.#theme];
    context.fillRect(0, 0, width, HEIGHT);
    const colours = { p: palette(this.#theme, "p"), n: palette(this.#theme, "n") };
    row.values.peaks(bins).forEach((value, bin) => {
      const { name } = row.shadeOf(value);
      const entry: Entry | undefined = colours[name.startsWith("ng-n") ? "n" : "p"][Number(name.slice(4)) - 1];
      if (!entry) return; // zero, or no value
      context.fillStyle = `rgb(${entry.background.join(" ")})`;
      context.fillRect(Math.floor(bin * wide), 0, Math.ceil(wide), HEIGHT);
    });
    context.fillStyle = getComputedStyle(this.element).getPropertyValue("--ng-ink");
    for (const token of this.#marks) context.fillRect(Math.floor((token / n) * width), 0, 1, 4);
    this.frame(this.#visible);
  }
}
