/**
 * The dose–response: one slider at many strengths, recorded. In: a sweep. Out: a chart of the concept and of perplexity
 * over the strength with the knee, and a slider through the recorded strengths that shows what was written at each. It
 * needs no kernel: a saved page has it too.
 */
import { button, focusable, h, setText } from "../../core/dom.js";
import { compact, count } from "../../core/format.js";
import { SHORT, type Unit, isFactor } from "../../core/slider.js";
import type { WirePoint, WireSweep } from "./wire.js";

const SVG = "http://www.w3.org/2000/svg";
const [WIDE, HIGH, LEFT, RIGHT] = [330, 80, 44, 8];

function svg(tag: string, attributes: Record<string, string | number>, ...kids: (Node | string)[]): SVGElement {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.append(...kids);
  return element;
}

interface Curve {
  name: string;
  of: (point: WirePoint) => number | null;
  log: boolean;
}

/** One curve over the strengths: dots are filled where the text is fluent, hollow where it broke. */
function chart(sweep: WireSweep, curve: Curve, chosen: number): SVGElement {
  const points = [sweep.base, ...sweep.points].map((p) => ({ ...p, x: p.value ?? (isFactor(sweep.mode) ? 1 : 0), y: curve.of(p) }));
  const there = points.filter((p) => p.y !== null && Number.isFinite(p.y));
  const scale = (y: number): number => (curve.log ? Math.log(Math.max(y, 1e-9)) : y);
  const [xs, ys] = [points.map((p) => p.x), there.map((p) => scale(p.y ?? 0))];
  const [x0, x1, y0, y1] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const px = (x: number): number => LEFT + ((x - x0) / (x1 - x0 || 1)) * (WIDE - LEFT - RIGHT);
  const py = (y: number): number => HIGH - 16 - ((scale(y) - y0) / (y1 - y0 || 1)) * (HIGH - 34);
  const line = [...there].sort((a, b) => a.x - b.x).map((p) => `${px(p.x).toFixed(1)},${py(p.y ?? 0).toFixed(1)}`);
  const [lowest, highest] = [Math.min(...there.map((p) => p.y ?? 0)), Math.max(...there.map((p) => p.y ?? 0))];
  const knees = sweep.knees.map((knee) => px(knee));
  return svg(
    "svg",
    { viewBox: `0 0 ${WIDE} ${HIGH}`, class: "ng-chart", role: "img", "aria-label": `${curve.name} from ${compact(lowest)} to ${compact(highest)}` },
    svg("text", { x: LEFT, y: 10, class: "ng-chart-name" }, curve.name),
    svg("line", { x1: LEFT, x2: WIDE - RIGHT, y1: HIGH - 16, y2: HIGH - 16, class: "ng-axis" }),
    svg("text", { x: LEFT - 5, y: py(highest) + 4, class: "ng-tick" }, compact(highest)),
    ...(highest > lowest ? [svg("text", { x: LEFT - 5, y: py(lowest) + 4, class: "ng-tick" }, compact(lowest))] : []),
    svg("text", { x: px(x0), y: HIGH - 4, class: "ng-tick ng-tick-x" }, compact(x0)),
    svg("text", { x: px(x1), y: HIGH - 4, class: "ng-tick" }, compact(x1)),
    ...knees.flatMap((x) => [
      svg("line", { x1: x, x2: x, y1: 14, y2: HIGH - 16, class: "ng-knee" }),
      svg("text", { x: x + 3, y: 22, class: "ng-chart-name" }, "knee"),
    ]),
    svg("polyline", { points: line.join(" "), class: "ng-curve" }),
    ...there.map((p) => svg("circle", { cx: px(p.x), cy: py(p.y ?? 0), r: p === points[chosen + 1] ? 5 : 3, class: p.fluent ? "ng-dot" : "ng-dot ng-broken" })),
  );
}

export class Dose {
  readonly element: HTMLElement;
  readonly #title = h("span", { class: "ng-name" });
  readonly #progress = h("progress", { max: 1, value: 0, "aria-label": "sweep" });
  readonly #cancel: HTMLButtonElement;
  readonly #failure = h("p", { class: "ng-failure", role: "status", hidden: true });
  readonly #charts = h("div", { class: "ng-charts" });
  readonly #range = focusable(h("input", { type: "range", class: "ng-range ng-recorded", min: 0, step: 1, "aria-label": "recorded strength" }));
  readonly #said = h("span", { class: "ng-all-units" });
  readonly #texts = h("div", { class: "ng-pair" });
  readonly #body: HTMLElement;
  #sweep: WireSweep | null = null;
  #at = 0;
  #running = false;

  constructor(cancel: () => void) {
    this.#cancel = button("Cancel", { class: "ng-button" }, cancel);
    this.#range.addEventListener("input", () => {
      this.#at = Number(this.#range.value);
      this.#draw();
    });
    this.#body = h("div", {}, this.#charts, h("div", { class: "ng-slider-line" }, this.#range, this.#said), this.#texts);
    this.element = h(
      "section",
      { class: "ng-dose", "aria-label": "dose–response", hidden: true },
      h("div", { class: "ng-slider-head" }, this.#title, this.#progress, this.#cancel),
      this.#failure,
      this.#body,
    );
  }

  /** A sweep is under way, `share` of it done; null: none is. */
  progress(share: number | null, failure = ""): void {
    this.#running = share !== null;
    this.#progress.value = share ?? 0;
    this.#failure.hidden = failure === "";
    setText(this.#failure, failure);
    this.#draw();
  }

  show(sweep: Partial<WireSweep>): void {
    const made = sweep.points?.length ? (sweep as WireSweep) : null;
    if (made === this.#sweep) return;
    this.#sweep = made;
    // begins at the knee: the strongest that still reads well
    const knee = made?.knees.at(-1);
    this.#at = Math.max(0, made?.points.findIndex(({ value }) => value === knee) ?? 0);
    this.#draw();
  }

  #draw(): void {
    const sweep = this.#sweep;
    this.element.hidden = !sweep && !this.#running && this.#failure.hidden;
    this.#progress.hidden = this.#cancel.hidden = !this.#running;
    this.#body.hidden = !sweep;
    if (!sweep) {
      setText(this.#title, "dose–response");
      return;
    }
    const unit = isFactor(sweep.mode) ? "" : ` ${SHORT[sweep.unit as Unit]}`;
    const n = sweep.base.texts.length;
    const knees = sweep.knees.length ? `knee at ${sweep.knees.map((knee) => compact(knee) + unit).join(" and ")}` : "no strength stays fluent";
    setText(this.#title, `dose–response of ${sweep.label}, ${sweep.mode}: ${knees}`);
    this.#title.title = `medians of ${count(n, "text")} for each strength at temperature ${sweep.temperature}. The knee is the strongest up to which all texts are fluent: perplexity at most twice that of the unsteered ones, distinct-2 at least half of theirs.`;
    const curves: Curve[] = [
      { name: sweep.concept, of: (p) => p.concept, log: false },
      { name: "perplexity, log scale; hollow: not fluent", of: (p) => p.perplexity, log: true },
    ];
    this.#charts.replaceChildren(...curves.map((curve) => chart(sweep, curve, this.#at)));
    const point = sweep.points[this.#at];
    if (!point) return;
    this.#range.max = String(sweep.points.length - 1);
    this.#range.value = String(this.#at);
    const strength = compact(point.value ?? 0) + unit;
    this.#range.setAttribute("aria-valuetext", strength);
    setText(this.#said, `${strength} · ${point.fluent ? "fluent" : "not fluent"}`);
    const column = (name: string, texts: readonly string[]): HTMLElement =>
      h("div", { class: "ng-half" }, h("div", { class: "ng-half-head" }, name), ...texts.map((text) => h("p", { class: "ng-written", dir: "auto" }, text)));
    this.#texts.replaceChildren(column("not steered", sweep.base.texts), column(strength, point.texts));
  }
}
