/**
 * The points on their canvas: drawing, panning, zooming, pointing, the lasso, the keyboard. In: coordinates, paint, what is
 * selected and marked. Out: an element that is one tab stop, and calls for what a person does. Points are drawn as pixels
 * (raster.ts) on one canvas; rings and the lasso are on a second one above it, so that pointing draws no points.
 */
import { focusable, h } from "../../core/dom.js";
import { Camera } from "./camera.js";
import type { Paint } from "./colours.js";
import { HOLLOW } from "./colours.js";
import { type Direction, Picker } from "./pick.js";
import { type Picture, nameOf } from "./picture.js";
import { type Shape, type Stamp, stampAll, stampOf } from "./raster.js";

const REACH = 14; // px within which a point is pointed at
const STILL = 4; // px that a click may move
const RINGS = 2_000; // marks drawn
const STEP = 1.35; // of the zoom keys

export interface PlaneActions {
  point: (i: number | null, anchor: Element, byKey: boolean) => void;
  pick: (i: number) => void;
  caught: (points: number[]) => void; // by the lasso
  release: () => void; // Escape
  moved: () => void; // panned or zoomed
}

export class Plane {
  readonly element: HTMLElement;
  readonly camera = new Camera();
  picker = new Picker(new Float32Array(0));
  lasso = false;
  readonly #points = h("canvas", { "aria-hidden": "true" });
  readonly #marks = h("canvas", { "aria-hidden": "true" });
  readonly #anchor = h("span", { class: "ng-map-at", "aria-hidden": "true" });
  #picture: Picture | null = null;
  #paint: Paint | null = null;
  #layers: { which: Uint32Array; faint: boolean }[] = [];
  #active = -1;
  #byKey = false;
  #feature = -1;
  #hits: readonly number[] = [];
  #line: number[] = []; // of the lasso, in pixels
  #drag: { x: number; y: number; moved: boolean; catching: boolean } | null = null;
  #frame = 0;
  #stale = false; // the points, too, are to be drawn

  constructor(
    private readonly actions: PlaneActions,
    signal: AbortSignal,
  ) {
    const element = (this.element = focusable(
      h(
        "div",
        { class: "ng-plane", role: "application", tabindex: 0, "aria-label": "map of features: arrow keys go to the next point, Enter selects, plus and minus zoom, 0 shows all, Escape lets go" },
        this.#points, this.#marks, this.#anchor,
      ),
    ));
    element.addEventListener("pointerdown", (event) => this.#down(event));
    element.addEventListener("pointermove", (event) => this.#move(event));
    element.addEventListener("pointerup", (event) => this.#up(event));
    element.addEventListener("pointercancel", () => this.#dropLine());
    element.addEventListener("pointerleave", () => {
      if (!this.#drag && !this.#byKey) this.activate(-1, false);
    });
    element.addEventListener("keydown", (event) => this.#key(event));
    element.addEventListener("blur", () => {
      if (this.#byKey) this.activate(-1, false);
    });
    element.addEventListener(
      "wheel",
      (event) => {
        // the page scrolls on, until somebody is in the map
        if (!event.ctrlKey && element.getRootNode() instanceof Node && !element.matches(":focus")) return;
        event.preventDefault();
        const [x, y] = this.#at(event);
        this.camera.zoomAt(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0022) * (event.ctrlKey ? 3 : 1)), x, y);
        this.#changed();
      },
      { passive: false },
    );
    if (typeof ResizeObserver === "function") {
      const sizes = new ResizeObserver(() => this.redraw());
      sizes.observe(element);
      signal.addEventListener("abort", () => sizes.disconnect());
    }
    signal.addEventListener("abort", () => cancelAnimationFrame(this.#frame));
  }

  // --- what is shown ----------------------------------------------------------------------------------------------

  /** Another map. */
  show(picture: Picture | null): void {
    this.#picture = picture;
    this.#active = -1;
    this.#dropLine();
    this.picker = new Picker(picture?.xy ?? new Float32Array(0));
    this.#measure();
    this.camera.reset(this.picker.box);
  }

  /** Colours, and which points stand out; empty: all alike. */
  dress(paint: Paint, chosen: ReadonlySet<number>): void {
    this.#paint = paint;
    const n = this.#picture?.n ?? 0;
    const parts = [new Uint32Array(n), new Uint32Array(n), new Uint32Array(n), new Uint32Array(n)];
    const sizes = [0, 0, 0, 0];
    for (let i = 0; i < n; i++) {
      const hollow = paint.entry[i] === HOLLOW;
      const part = (chosen.size && chosen.has(i) ? 2 : 0) + (hollow ? 0 : 1);
      const list = parts[part];
      if (list) list[sizes[part] ?? 0] = i;
      sizes[part] = (sizes[part] ?? 0) + 1;
    }
    this.#layers = parts.map((list, k) => ({ which: list.subarray(0, sizes[k]), faint: chosen.size > 0 && k < 2 }));
    this.redraw();
  }

  mark(feature: number | null, hits: readonly number[]): void {
    this.#feature = feature ?? -1;
    this.#hits = hits;
    this.#later();
  }

  get active(): number {
    return this.#active;
  }

  /** The point that is pointed at; -1: none. */
  activate(i: number, byKey: boolean): void {
    if (i === this.#active && byKey === this.#byKey) return;
    this.#active = i;
    this.#byKey = byKey && i >= 0;
    if (i >= 0 && byKey) this.reveal(i);
    this.#place(i);
    this.#later();
    this.actions.point(i < 0 ? null : i, this.#anchor, byKey);
  }

  /** Moves the map so that a point can be seen. */
  reveal(i: number): void {
    const [x, y] = this.#where(i);
    if (!Number.isNaN(x) && this.camera.show(x, y)) this.#changed();
  }

  reset(): void {
    this.camera.reset(this.picker.box);
    this.#changed();
  }

  /** Draws everything anew, at the size that the element has now. */
  redraw(): void {
    this.#stale = true;
    this.#later();
  }

  #changed(): void {
    this.redraw();
    if (this.#active >= 0) this.#place(this.#active);
    this.actions.moved();
  }

  #where(i: number): [number, number] {
    const xy = this.#picture?.xy;
    return [xy?.[2 * i] ?? NaN, xy?.[2 * i + 1] ?? NaN];
  }

  #place(i: number): void {
    if (i < 0) return;
    const [x, y] = this.camera.toPage(...this.#where(i));
    this.#anchor.style.left = `${x - 8}px`;
    this.#anchor.style.top = `${y - 8}px`;
  }

  // --- hands ------------------------------------------------------------------------------------------------------

  #at(event: MouseEvent): [number, number] {
    const box = this.element.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  #nearest(px: number, py: number): number {
    const [x, y] = this.camera.toMap(px, py);
    return this.picker.nearest(x, y, REACH / this.camera.scale);
  }

  #down(event: PointerEvent): void {
    if (event.button !== 0) return;
    const [x, y] = this.#at(event);
    const catching = this.lasso || event.shiftKey;
    this.#drag = { x, y, moved: false, catching };
    this.#line = catching ? [x, y] : [];
    this.element.setPointerCapture(event.pointerId);
    this.element.focus({ preventScroll: true });
  }

  #move(event: PointerEvent): void {
    const [x, y] = this.#at(event);
    const drag = this.#drag;
    if (!drag) {
      this.activate(this.#nearest(x, y), false);
      return;
    }
    if (!drag.moved && Math.hypot(x - drag.x, y - drag.y) < STILL) return;
    if (!drag.moved) this.activate(-1, false);
    drag.moved = true;
    if (drag.catching) {
      this.#line.push(x, y);
      this.#later();
    } else {
      this.camera.pan(x - drag.x, y - drag.y);
      [drag.x, drag.y] = [x, y];
      this.#changed();
    }
  }

  #up(event: PointerEvent): void {
    const drag = this.#drag;
    const line = this.#line;
    this.#dropLine();
    if (!drag) return;
    if (!drag.moved) {
      const i = this.#nearest(...this.#at(event));
      if (i >= 0) this.actions.pick(i);
    } else if (drag.catching) {
      const there: number[] = [];
      for (let k = 0; k < line.length; k += 2) there.push(...this.camera.toMap(line[k] ?? 0, line[k + 1] ?? 0));
      this.actions.caught(this.picker.inside(there, this.#picture?.own ?? 0));
    }
  }

  #dropLine(): void {
    this.#drag = null;
    this.#line = [];
    this.#later();
  }

  #key(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { key } = event;
    if (key.startsWith("Arrow")) {
      event.preventDefault();
      const from = this.#active >= 0 ? this.#active : this.#feature;
      const next = from >= 0 && this.#active >= 0 ? this.picker.towards(from, key as Direction) : from >= 0 ? from : this.#middle();
      if (next >= 0) this.activate(next, true);
      return;
    }
    if (key === "Enter" && this.#active >= 0) this.actions.pick(this.#active);
    else if (key === "+" || key === "=" || key === "-") {
      const on = this.#active >= 0 ? this.camera.toPage(...this.#where(this.#active)) : [];
      this.camera.zoomAt(key === "-" ? 1 / STEP : STEP, ...(on as [number?, number?]));
      this.#changed();
    } else if (key === "0") this.reset();
    else if (key === "Escape") {
      if (this.#drag) this.#dropLine();
      else if (this.#active >= 0 && this.#byKey) this.activate(-1, false);
      else this.actions.release();
    } else return;
    event.preventDefault();
  }

  /** The point nearest the middle of what is seen. */
  #middle(): number {
    const { width, height, scale } = this.camera;
    const [x, y] = this.camera.toMap(width / 2, height / 2);
    return this.picker.nearest(x, y, Math.hypot(width, height) / scale);
  }

  // --- drawing ----------------------------------------------------------------------------------------------------

  #measure(): void {
    const width = this.element.clientWidth || 640;
    this.camera.width = width;
    this.camera.height = Math.round(Math.max(260, Math.min(520, width * 0.6)));
    const height = `${this.camera.height}px`;
    if (this.element.style.height !== height) this.element.style.height = height;
  }

  #later(): void {
    if (this.#frame) return;
    this.#frame = requestAnimationFrame(() => {
      this.#frame = 0;
      if (this.#stale) this.#drawPoints();
      this.#drawMarks();
    });
  }

  #fit(canvas: HTMLCanvasElement): { context: CanvasRenderingContext2D; ratio: number } | null {
    const ratio = Math.min(2, window.devicePixelRatio || 1);
    const [width, height] = [Math.round(this.camera.width * ratio), Math.round(this.camera.height * ratio)];
    if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
    const context = canvas.getContext("2d");
    return context && { context, ratio };
  }

  /** Smaller where there are many, larger the further one is in. */
  #radius(): number {
    const n = Math.max(1, this.#picture?.drawn ?? 1);
    const room = Math.sqrt((this.camera.width * this.camera.height) / n);
    return Math.max(1.1, Math.min(3.4, 0.34 * room)) * Math.min(2.2, this.camera.zoom ** 0.3);
  }

  #drawPoints(): void {
    const before = [this.camera.width, this.camera.height];
    this.#measure();
    if (before[0] !== this.camera.width && this.#active >= 0) this.#place(this.#active);
    const [picture, paint] = [this.#picture, this.#paint];
    const fitted = this.#fit(this.#points);
    if (!picture || !paint || !fitted) return;
    this.#stale = false;
    const { context, ratio } = fitted;
    const { width, height } = this.#points;
    const image = context.createImageData(width, height);
    const pixels = new Uint32Array(image.data.buffer).fill(paint.paper);
    const radius = this.#radius() * ratio;
    const solid = [0, 1, 2].map((shape) => stampOf(shape as Shape, shape ? 1.4 * radius : radius));
    const ring = stampOf(3, Math.max(radius, 1.8 * ratio));
    const several = picture.wire.stores.length > 1;
    for (const { which, faint } of this.#layers) {
      const colours = faint ? paint.faint : paint.full;
      const stamp = (i: number): Stamp =>
        paint.entry[i] === HOLLOW ? ring : ((several && i >= picture.own ? solid[1 + ((nameOf(picture, i).which - 1) % 2)] : solid[0]) ?? ring);
      stampAll(pixels, width, height, picture.xy, which, (i) => colours[paint.entry[i] ?? 0] ?? 0, stamp, this.camera.lie(ratio));
    }
    context.putImageData(image, 0, 0);
  }

  #drawMarks(): void {
    const fitted = this.#fit(this.#marks);
    if (!fitted) return;
    const { context, ratio } = fitted;
    const look = getComputedStyle(this.element);
    const colour = (name: string): string => look.getPropertyValue(`--ng-${name}`).trim() || "#888";
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, this.camera.width, this.camera.height);
    const ring = (i: number, radius: number, ink: string, width: number): void => {
      const [x, y] = this.camera.toPage(...this.#where(i));
      if (Number.isNaN(x)) return;
      for (const [style, line] of [[colour("paper"), width + 2], [ink, width]] as const) {
        context.beginPath();
        context.arc(x, y, radius, 0, 2 * Math.PI);
        context.strokeStyle = style;
        context.lineWidth = line;
        context.stroke();
      }
    };
    for (const i of this.#hits.slice(0, RINGS)) ring(i, this.#radius() + 2.5, colour("warn"), 1.5);
    if (this.#feature >= 0) ring(this.#feature, 9, colour("ink"), 2.5);
    if (this.#active >= 0) ring(this.#active, 7, colour("accent"), 2);
    if (this.#line.length > 2) {
      context.beginPath();
      for (let k = 0; k < this.#line.length; k += 2) context.lineTo(this.#line[k] ?? 0, this.#line[k + 1] ?? 0);
      context.closePath();
      context.globalAlpha = 0.18;
      context.fillStyle = colour("accent");
      context.fill();
      context.globalAlpha = 1;
      context.strokeStyle = colour("paper");
      context.lineWidth = 4;
      context.stroke();
      context.setLineDash([6, 4]);
      context.strokeStyle = colour("ink");
      context.lineWidth = 2;
      context.stroke();
      context.setLineDash([]);
    }
  }
}
