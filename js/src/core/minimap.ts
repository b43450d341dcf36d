/**
 * The whole of a row in one line: a canvas whose columns show the strongest value of a stretch of tokens, with the part
 * that is on screen framed. In: a row, a theme, what is visible. Out: an element; a press or a drag asks for a token.
 */
import { type Entry, PAPER, palette, type Theme } from "./colour.js";
import { h } from "./dom.js";
import type { Row } from "./picture.js";

const HEIGHT = 14; // px

export class Minimap {
  readonly element: HTMLCanvasElement;
  #row: Row | null = null;
  #theme: Theme = "light";
  #visible: readonly [number, number] = [0, 0];
  #marks: readonly number[] = [];
  #frame = 0;

  constructor(signal: AbortSignal, go: (token: number) => void) {
    // for the pointer only: the keyboard has Home, End and find
    const canvas = (this.element = h("canvas", { class: "ng-minimap", "aria-hidden": "true", title: "the whole text: strongest value of each stretch; press to go there" }));
    const there = (event: PointerEvent): void => {
      const box = canvas.getBoundingClientRect();
      const n = this.#row?.values.length ?? 0;
      if (n) go(Math.max(0, Math.min(n - 1, Math.floor(((event.clientX - box.left) / box.width) * n))));
    };
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      canvas.setPointerCapture(event.pointerId);
      there(event);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (canvas.hasPointerCapture(event.pointerId)) there(event);
    });
    if (typeof ResizeObserver === "function") {
      const observer = new ResizeObserver(() => this.#later());
      observer.observe(canvas);
      signal.addEventListener("abort", () => observer.disconnect());
    }
    signal.addEventListener("abort", () => cancelAnimationFrame(this.#frame));
  }

  show(row: Row, theme: Theme): void {
    this.#row = row;
    this.#theme = theme;
    this.#later();
  }

  /** Frames the tokens that are on screen. */
  frame(visible: readonly [number, number]): void {
    if (visible[0] === this.#visible[0] && visible[1] === this.#visible[1]) return;
    this.#visible = visible;
    this.#later();
  }

  /** Marks places: where something was found. */
  mark(tokens: readonly number[]): void {
    if (tokens.length === 0 && this.#marks.length === 0) return;
    this.#marks = tokens;
    this.#later();
  }

  #later(): void {
    cancelAnimationFrame(this.#frame);
    this.#frame = requestAnimationFrame(() => this.#draw());
  }

  #draw(): void {
    const { element: canvas } = this;
    const row = this.#row;
    const width = canvas.clientWidth;
    const context = canvas.getContext("2d");
    if (!row || !width || !context) return;
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
    const shade = row.shadeOf;
    row.values.peaks(bins).forEach((value, bin) => {
      const { name } = shade(value);
      const entry: Entry | undefined = colours[name.startsWith("ng-n") ? "n" : "p"][Number(name.slice(4)) - 1];
      if (!entry) return; // zero, or no value
      context.fillStyle = `rgb(${entry.background.join(" ")})`;
      context.fillRect(Math.floor(bin * wide), 0, Math.ceil(wide), HEIGHT);
    });
    const style = getComputedStyle(canvas);
    context.fillStyle = style.getPropertyValue("--ng-warn");
    for (const token of this.#marks) context.fillRect(Math.floor((token / n) * width), 0, 2, 4);
    const [from, to] = this.#visible;
    if (to > from && to - from < n) {
      context.strokeStyle = style.getPropertyValue("--ng-ink");
      context.lineWidth = 1.5;
      context.strokeRect((from / n) * width + 0.75, 0.75, Math.max(4, ((to - from) / n) * width) - 1.5, HEIGHT - 1.5);
    }
  }
}
