/**
 * A histogram whose bars can be brushed: drag over them, or arrows, Shift+arrows and Enter. In: bins with counts, and of
 * each count how many are of a marked part. Out: an element of HTML bars (no canvas: it follows the theme and forced
 * colours by itself) and `brushed` with the range of values that was chosen, null when it was let go.
 */
import { focusable, h, setText, uuid } from "./dom.js";
import { compact } from "./format.js";
import "./histogram.css";

export interface Bins {
  edges: readonly number[]; // one more than counts
  counts: readonly number[];
  marked: readonly number[] | null; // of each count, how many
}

export interface HistogramActions {
  brushed: (range: [low: number, high: number] | null) => void;
  told: (bin: number) => string; // of a bar, for its note and for screen readers
  point: (bar: Element | null, text: string) => void;
}

export class Histogram {
  readonly element: HTMLElement;
  readonly #plot: HTMLElement;
  readonly #top = h("span", { class: "ng-hist-top" });
  readonly #ends = [h("span"), h("span"), h("span")] as const;
  readonly #name = uuid();
  #bins: Bins = { edges: [], counts: [], marked: null };
  #range: [from: number, to: number] | null = null; // bars, both in it
  #cursor = -1;
  #anchor = -1;

  constructor(
    label: string,
    private readonly actions: HistogramActions,
  ) {
    this.#plot = focusable(h("div", { class: "ng-hist-plot", role: "listbox", "aria-multiselectable": "true", "aria-label": label, tabindex: 0 }));
    this.element = h("div", { class: "ng-hist" }, this.#top, this.#plot, h("div", { class: "ng-hist-ends", "aria-hidden": "true" }, ...this.#ends));
    this.#listen();
  }

  /** Draws bins; `log` draws the logarithm of 1 + count. */
  show(bins: Bins, log: boolean): void {
    this.#bins = bins;
    const most = Math.max(1, ...bins.counts);
    const height = (n: number): number => (log ? Math.log1p(n) / Math.log1p(most) : n / most);
    while (this.#plot.children.length > bins.counts.length) this.#plot.lastElementChild?.remove();
    bins.counts.forEach((n, i) => {
      const bar = (this.#plot.children[i] as HTMLElement | undefined) ?? this.#plot.appendChild(h("div", { class: "ng-hist-bin", role: "option", id: `${this.#name}-${i}` }, h("span", { class: "ng-hist-bar" }, h("span", { class: "ng-hist-part" }))));
      const [column, part] = [bar.firstElementChild as HTMLElement, bar.firstElementChild?.firstElementChild as HTMLElement];
      column.style.height = n ? `max(2px, ${(100 * height(n)).toFixed(2)}%)` : "0";
      // of a bar, the marked part is its share: true on any scale
      const share = bins.marked && n ? (bins.marked[i] ?? 0) / n : 0;
      part.style.height = `${(100 * share).toFixed(2)}%`;
      bar.setAttribute("aria-label", this.actions.told(i));
    });
    this.element.classList.toggle("ng-hist-stacked", bins.marked !== null);
    setText(this.#top, bins.counts.length ? compact(most) : "no tokens");
    const { edges } = bins;
    const half = Math.floor((edges.length - 1) / 2);
    [edges[0], edges[half], edges.at(-1)].forEach((edge, k) => setText(this.#ends[k as 0 | 1 | 2], edge === undefined ? "" : compact(edge, 2)));
    if (this.#range && this.#range[1] >= bins.counts.length) this.#range = null;
    this.#mark();
  }

  clear(): void {
    this.#range = null;
    this.#mark();
  }

  #listen(): void {
    const plot = this.#plot;
    const binAt = (event: PointerEvent): number => {
      const box = plot.getBoundingClientRect();
      const n = this.#bins.counts.length;
      return Math.max(0, Math.min(n - 1, Math.floor(((event.clientX - box.left) / box.width) * n)));
    };
    let from = -1;
    plot.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || !this.#bins.counts.length) return;
      plot.setPointerCapture(event.pointerId);
      from = binAt(event);
      this.#range = [from, from];
      this.#mark();
    });
    plot.addEventListener("pointermove", (event) => {
      if (!this.#bins.counts.length) return;
      const at = binAt(event);
      const bar = plot.children[at] ?? null;
      this.actions.point(bar, this.actions.told(at));
      if (from < 0) return;
      this.#range = [Math.min(from, at), Math.max(from, at)];
      this.#mark();
    });
    plot.addEventListener("pointerup", () => {
      if (from < 0) return;
      from = -1;
      this.#tell();
    });
    plot.addEventListener("pointercancel", () => {
      from = -1;
    });
    plot.addEventListener("pointerleave", () => this.actions.point(null, ""));
    plot.addEventListener("blur", () => {
      this.#cursor = -1;
      this.#mark();
      this.actions.point(null, "");
    });
    plot.addEventListener("keydown", (event) => this.#key(event));
  }

  #key(event: KeyboardEvent): void {
    const last = this.#bins.counts.length - 1;
    if (last < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    const now = this.#cursor < 0 ? (this.#range?.[0] ?? 0) : this.#cursor;
    const goal = { ArrowRight: this.#cursor < 0 ? now : now + 1, ArrowLeft: this.#cursor < 0 ? now : now - 1, Home: 0, End: last }[event.key];
    if (goal !== undefined) {
      event.preventDefault();
      const to = Math.max(0, Math.min(last, goal));
      if (!event.shiftKey) this.#anchor = to;
      else this.#range = [Math.min(this.#anchor, to), Math.max(this.#anchor, to)];
      this.#cursor = to;
      this.#mark();
      this.actions.point(this.#plot.children[to] ?? null, this.actions.told(to));
    } else if (event.key === "Enter" && this.#cursor >= 0) {
      if (!this.#range || this.#cursor < this.#range[0] || this.#cursor > this.#range[1]) this.#range = [this.#cursor, this.#cursor];
      this.#mark();
      this.#tell();
    } else if (event.key === "Escape") {
      this.#cursor = -1;
      this.actions.point(null, "");
      if (this.#range) {
        this.clear();
        this.actions.brushed(null);
      }
    }
  }

  #tell(): void {
    if (!this.#range) return;
    const [low, high] = [this.#bins.edges[this.#range[0]], this.#bins.edges[this.#range[1] + 1]];
    if (low !== undefined && high !== undefined) this.actions.brushed([low, high]);
  }

  #mark(): void {
    const range = this.#range;
    for (const [i, bar] of [...this.#plot.children].entries()) {
      const inside = range !== null && i >= range[0] && i <= range[1];
      bar.classList.toggle("ng-hist-in", inside);
      bar.classList.toggle("ng-cur", i === this.#cursor);
      if (inside) bar.setAttribute("aria-selected", "true");
      else bar.removeAttribute("aria-selected");
    }
    this.element.classList.toggle("ng-hist-brushed", range !== null);
    if (this.#cursor >= 0) this.#plot.setAttribute("aria-activedescendant", `${this.#name}-${this.#cursor}`);
    else this.#plot.removeAttribute("aria-activedescendant");
  }
}
