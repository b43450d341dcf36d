/**
 * Simulated against real activation of every test token: points, and no line through them. In: windows, what was simulated,
 * the threshold. Out: a canvas with its axes in words; the two lines are the threshold.
 */
import { h, setText } from "../../core/dom.js";
import { compact } from "../../core/format.js";
import type { Said, Window } from "./picture.js";

const SIZE = 220; // px
const EDGE = 10;

export class Scatter {
  readonly element: HTMLElement;
  readonly #canvas = h("canvas", { role: "img", width: SIZE, height: SIZE });
  readonly #across = h("span", { class: "ng-axis" });
  readonly #up = h("span", { class: "ng-axis" });
  readonly #note = h("p", { class: "ng-quiet" });
  readonly #plot: HTMLElement;
  #drawn: { windows: readonly Window[]; said: readonly Said[]; edge: number } | null = null;

  constructor() {
    this.#plot = h("div", { class: "ng-plot" }, this.#up, this.#canvas, this.#across);
    this.element = h("section", { class: "ng-lab-scatter", "aria-label": "scatter" }, h("h4", {}, "Each token"), this.#plot, this.#note);
  }

  show(windows: readonly Window[], said: readonly Said[], edge: number): void {
    this.#drawn = { windows, said, edge };
    const points = pointsOf(windows, said);
    this.#plot.hidden = points.length === 0;
    const zero = points.filter(([x, y]) => x === 0 && y === 0).length;
    const [, top] = rangeOf(points);
    setText(this.#across, `simulated, to ${compact(top)}`);
    setText(this.#up, `real, to ${compact(top)}`);
    const text = points.length ? `${points.length.toLocaleString("en-US")} tokens, ${zero.toLocaleString("en-US")} of them 0 in both.` : "Nothing is simulated.";
    setText(this.#note, `${text}${points.length ? " ● strong windows, + random ones." : ""}`);
    this.#canvas.setAttribute("aria-label", `simulated against real activation, ${text}`);
    this.redraw();
  }

  redraw(): void {
    const drawn = this.#drawn;
    const context = this.#canvas.getContext("2d");
    if (!drawn || !context) return;
    const points = pointsOf(drawn.windows, drawn.said);
    const [low, top] = rangeOf(points);
    const ratio = window.devicePixelRatio || 1;
    this.#canvas.width = this.#canvas.height = Math.round(SIZE * ratio);
    context.scale(ratio, ratio);
    const style = getComputedStyle(this.element);
    const colour = (name: string): string => style.getPropertyValue(name);
    const at = (value: number): number => EDGE + ((SIZE - 2 * EDGE) * (value - low)) / (top - low);
    const line = (value: number): void => {
      context.beginPath();
      context.moveTo(at(value), 0);
      context.lineTo(at(value), SIZE);
      context.moveTo(0, SIZE - at(value));
      context.lineTo(SIZE, SIZE - at(value));
      context.stroke();
    };
    context.lineWidth = 1;
    context.strokeStyle = colour("--ng-line");
    line(0);
    context.setLineDash([3, 3]);
    context.strokeStyle = colour("--ng-edge");
    line(drawn.edge);
    context.setLineDash([]);
    context.fillStyle = colour("--ng-bar");
    context.strokeStyle = colour("--ng-accent");
    context.globalAlpha = 0.65;
    const there = new Set<string>(); // points of one pixel are drawn once
    for (const [x, y, random] of points) {
      const [left, up] = [at(x), SIZE - at(y)];
      const place = `${random ? "+" : ""}${Math.round(left)} ${Math.round(up)}`;
      if (there.has(place)) continue;
      there.add(place);
      context.beginPath();
      if (random) {
        context.moveTo(left - 3, up);
        context.lineTo(left + 3, up);
        context.moveTo(left, up - 3);
        context.lineTo(left, up + 3);
        context.stroke();
      } else {
        context.arc(left, up, 2.6, 0, 2 * Math.PI);
        context.fill();
      }
    }
    context.globalAlpha = 1;
  }
}

type Point = [said: number, real: number, random: boolean];

export function pointsOf(windows: readonly Window[], said: readonly Said[]): Point[] {
  return windows.flatMap(({ real, group }, k) => {
    const values = said[k]?.values;
    return values ? Array.from(real, (v, i): Point => [values[i] ?? 0, v, group === "random"]) : [];
  });
}

/** One range for both axes. */
function rangeOf(points: readonly Point[]): [low: number, top: number] {
  let [low, top] = [0, 1e-12];
  for (const [x, y] of points) {
    low = Math.min(low, x, y);
    top = Math.max(top, x, y);
  }
  return [low, top];
}
