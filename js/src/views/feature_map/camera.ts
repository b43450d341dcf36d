/** Where the map lies in its window: units and pixels. In: pans, zooms, a size. Out: places. Both axes have one scale. */
import type { Box } from "./pick.js";
import type { Lie } from "./raster.js";

const FREE = 24; // px kept free at each edge
const MOST = 4_000; // times the whole

export class Camera {
  width = 640;
  height = 400;
  #x = 0;
  #y = 0;
  #zoom = 1;
  #whole: Box = { x0: 0, y0: 0, x1: 1, y1: 1 };

  /** A new map: all of it is shown. */
  reset(whole: Box): void {
    this.#whole = whole;
    [this.#x, this.#y] = [(whole.x0 + whole.x1) / 2, (whole.y0 + whole.y1) / 2];
    this.#zoom = 1;
  }

  get zoom(): number {
    return this.#zoom;
  }

  /** Pixels a unit. */
  get scale(): number {
    const { x0, x1, y0, y1 } = this.#whole;
    const wide = Math.max(40, this.width - 2 * FREE) / Math.max(x1 - x0, 1e-12);
    const high = Math.max(40, this.height - 2 * FREE) / Math.max(y1 - y0, 1e-12);
    return Math.min(wide, high) * this.#zoom;
  }

  /** For the raster, in pixels of the device. */
  lie(ratio: number): Lie {
    const scale = this.scale;
    return {
      scale: scale * ratio,
      left: (this.width / 2 - this.#x * scale) * ratio,
      top: (this.height / 2 + this.#y * scale) * ratio,
    };
  }

  toPage(x: number, y: number): [number, number] {
    return [this.width / 2 + (x - this.#x) * this.scale, this.height / 2 - (y - this.#y) * this.scale];
  }

  toMap(px: number, py: number): [number, number] {
    return [this.#x + (px - this.width / 2) / this.scale, this.#y - (py - this.height / 2) / this.scale];
  }

  pan(dx: number, dy: number): void {
    this.#x -= dx / this.scale;
    this.#y += dy / this.scale;
  }

  /** Zooms about a place of the window, which stays where it is. */
  zoomAt(factor: number, px = this.width / 2, py = this.height / 2): void {
    const [x, y] = this.toMap(px, py);
    this.#zoom = Math.max(0.5, Math.min(MOST, this.#zoom * factor));
    const [nx, ny] = this.toPage(x, y);
    this.pan(px - nx, py - ny);
  }

  /** Moves so that a place is well inside the window; whether it had to. */
  show(x: number, y: number): boolean {
    const [px, py] = this.toPage(x, y);
    const inside = px >= FREE && py >= FREE && px <= this.width - FREE && py <= this.height - FREE;
    if (!inside) [this.#x, this.#y] = [x, y];
    return !inside;
  }

  /** What can be seen. */
  get box(): Box {
    const [x0, y1] = this.toMap(0, 0);
    const [x1, y0] = this.toMap(this.width, this.height);
    return { x0, y0, x1, y1 };
  }
}
