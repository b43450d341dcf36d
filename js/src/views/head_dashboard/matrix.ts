/** Who reads whom, as a square: rows are queries, columns keys. In: a reading. Out: a canvas, and calls for what is pointed at. */
import { PAPER, type Theme, palette } from "../../core/colour.js";
import { h } from "../../core/dom.js";
import { type Reading, at } from "./picture.js";

const SIDE = 340; // px at most
export const MOST = 200; // tokens

export class Matrix {
  readonly element: HTMLElement;
  readonly #canvas = h("canvas", { role: "img", "aria-label": "who reads whom: rows are queries, columns keys; the tokens above say the same" });
  readonly #anchor = h("span", { class: "ng-matrix-at", "aria-hidden": "true" });
  #reading: Reading | null = null;
  #cell = 1;

  constructor(point: (query: number, key: number, anchor: Element | null) => void, pick: (query: number) => void) {
    this.element = h("figure", { class: "ng-matrix", hidden: true }, h("figcaption", { class: "ng-caption" }, "rows: queries · columns: keys"), h("div", { class: "ng-matrix-box" }, this.#canvas, this.#anchor));
    const there = (event: MouseEvent): [number, number] | null => {
      const box = this.#canvas.getBoundingClientRect();
      const n = this.#reading?.n ?? 0;
      const [key, query] = [Math.floor(((event.clientX - box.left) / (box.width || 1)) * n), Math.floor(((event.clientY - box.top) / (box.height || 1)) * n)];
      return key >= 0 && query < n && key <= query ? [query, key] : null;
    };
    this.#canvas.addEventListener("pointermove", (event) => {
      const found = there(event);
      const size = (this.#canvas.clientWidth || 1) / Math.max(1, this.#reading?.n ?? 1);
      if (found) {
        this.#anchor.style.left = `${found[1] * size}px`;
        this.#anchor.style.top = `${found[0] * size}px`;
        this.#anchor.style.width = this.#anchor.style.height = `${size}px`;
        point(found[0], found[1], this.#anchor);
      } else point(0, 0, null);
    });
    this.#canvas.addEventListener("pointerleave", () => point(0, 0, null));
    this.#canvas.addEventListener("click", (event) => {
      const found = there(event);
      if (found) pick(found[0]);
    });
  }

  draw(reading: Reading | null, theme: Theme, selected: number | null): void {
    this.#reading = reading;
    this.element.hidden = !reading || reading.n > MOST;
    if (!reading || this.element.hidden) return;
    const { n } = reading;
    this.#cell = Math.max(1, Math.min(16, Math.floor(SIDE / n)));
    const ratio = Math.min(2, window.devicePixelRatio || 1);
    const side = n * this.#cell;
    this.#canvas.width = this.#canvas.height = Math.round(side * ratio);
    this.#canvas.style.width = `${side}px`;
    const context = this.#canvas.getContext("2d");
    if (!context) return;
    context.scale(ratio, ratio);
    context.fillStyle = PAPER[theme];
    context.fillRect(0, 0, side, side);
    const look = getComputedStyle(this.element);
    const colours = palette(theme, "p").map(({ background }) => `rgb(${background.join(" ")})`);
    context.fillStyle = look.getPropertyValue("--ng-hair");
    for (let q = 0; q < n; q++) context.fillRect((q + 1) * this.#cell, q * this.#cell, side - (q + 1) * this.#cell, this.#cell); // nobody reads what comes later
    for (let q = 0; q < n; q++) {
      for (let k = 0; k <= q; k++) {
        const step = Math.ceil((at(reading, q, k) / (reading.most || 1)) * colours.length) - 1;
        if (step < 0) continue;
        context.fillStyle = colours[Math.min(step, colours.length - 1)] ?? "";
        context.fillRect(k * this.#cell, q * this.#cell, this.#cell, this.#cell);
      }
    }
    if (selected === null || selected >= n) return;
    context.strokeStyle = look.getPropertyValue("--ng-ink");
    context.strokeRect(0.5, selected * this.#cell + 0.5, (selected + 1) * this.#cell - 1, this.#cell - 1);
    context.strokeRect(selected * this.#cell + 0.5, selected * this.#cell + 0.5, this.#cell - 1, side - selected * this.#cell - 1);
  }
}
