/**
 * Which point is meant: the nearest to a place, the next in a direction, those inside a line. In: coordinates; NaN is
 * nowhere. Out: indices. The nearest is found by a grid of cells over the plane, so that pointing at one of 100,000 takes
 * no time that could be felt.
 */
export type Direction = "ArrowLeft" | "ArrowRight" | "ArrowUp" | "ArrowDown";
const TOWARDS: Record<Direction, readonly [number, number]> = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, 1],
  ArrowDown: [0, -1],
};
const A_CELL = 4; // points, about

export interface Box {
  x0: number;
  y0: number;
  x1: number;
  y1: number;
}

export class Picker {
  readonly box: Box;
  readonly #xy: Float32Array;
  readonly #cells: number; // a side
  readonly #size: number; // of a cell
  readonly #starts: Uint32Array;
  readonly #members: Uint32Array;

  constructor(xy: Float32Array) {
    this.#xy = xy;
    const n = xy.length / 2;
    let [x0, y0, x1, y1, count] = [Infinity, Infinity, -Infinity, -Infinity, 0];
    for (let i = 0; i < n; i++) {
      const [x, y] = [xy[2 * i] ?? NaN, xy[2 * i + 1] ?? NaN];
      if (Number.isNaN(x)) continue;
      count++;
      x0 = Math.min(x0, x);
      x1 = Math.max(x1, x);
      y0 = Math.min(y0, y);
      y1 = Math.max(y1, y);
    }
    this.box = count ? { x0, y0, x1, y1 } : { x0: 0, y0: 0, x1: 1, y1: 1 };
    this.#cells = Math.max(1, Math.min(512, Math.ceil(Math.sqrt(count / A_CELL))));
    this.#size = Math.max(this.box.x1 - this.box.x0, this.box.y1 - this.box.y0, 1e-12) / this.#cells;
    const cells = this.#cells ** 2;
    this.#starts = new Uint32Array(cells + 1);
    const cellOf = (i: number): number => {
      const [x, y] = [xy[2 * i] ?? NaN, xy[2 * i + 1] ?? NaN];
      return Number.isNaN(x) ? -1 : this.#clamp((y - this.box.y0) / this.#size) * this.#cells + this.#clamp((x - this.box.x0) / this.#size);
    };
    for (let i = 0; i < n; i++) {
      const cell = cellOf(i);
      if (cell >= 0) this.#starts[cell + 1] = (this.#starts[cell + 1] ?? 0) + 1;
    }
    for (let c = 0; c < cells; c++) this.#starts[c + 1] = (this.#starts[c + 1] ?? 0) + (this.#starts[c] ?? 0);
    this.#members = new Uint32Array(count);
    const next = this.#starts.slice();
    for (let i = 0; i < n; i++) {
      const cell = cellOf(i);
      if (cell < 0) continue;
      this.#members[next[cell] ?? 0] = i;
      next[cell] = (next[cell] ?? 0) + 1;
    }
  }

  #clamp(cell: number): number {
    return Math.max(0, Math.min(this.#cells - 1, Math.floor(cell)));
  }

  /** The nearest point within a distance; -1: there is none. */
  nearest(x: number, y: number, within: number): number {
    const column = Math.floor((x - this.box.x0) / this.#size);
    const line = Math.floor((y - this.box.y0) / this.#size);
    let best = -1;
    let least = within * within;
    const rings = Math.ceil(within / this.#size) + 1;
    for (let ring = 0; ring <= rings; ring++) {
      if (best >= 0 && (ring - 1) * this.#size > Math.sqrt(least)) break;
      for (let r = Math.max(0, line - ring); r <= Math.min(this.#cells - 1, line + ring); r++) {
        const edge = Math.abs(r - line) === ring;
        for (let c = column - ring; c <= column + ring; c += edge || ring === 0 ? 1 : 2 * ring) {
          if (c < 0 || c >= this.#cells) continue;
          const cell = r * this.#cells + c;
          for (let m = this.#starts[cell] ?? 0; m < (this.#starts[cell + 1] ?? 0); m++) {
            const i = this.#members[m] ?? 0;
            const away = ((this.#xy[2 * i] ?? NaN) - x) ** 2 + ((this.#xy[2 * i + 1] ?? NaN) - y) ** 2;
            if (away < least || (away === least && best < 0)) {
              least = away;
              best = i;
            }
          }
        }
      }
    }
    return best;
  }

  /** The nearest point in a direction: within 45° of it; -1: there is none. */
  towards(from: number, direction: Direction): number {
    const [ux, uy] = TOWARDS[direction];
    const [x, y] = [this.#xy[2 * from] ?? NaN, this.#xy[2 * from + 1] ?? NaN];
    let best = -1;
    let least = Infinity;
    for (let i = 0; i < this.#xy.length / 2; i++) {
      const dx = (this.#xy[2 * i] ?? NaN) - x;
      const dy = (this.#xy[2 * i + 1] ?? NaN) - y;
      const along = dx * ux + dy * uy;
      const across = Math.abs(dx * uy - dy * ux);
      if (!(along > 0) || across > along) continue;
      const cost = along + 2 * across; // straight on is nearer than aside
      if (cost < least) {
        least = cost;
        best = i;
      }
    }
    return best;
  }

  /** The points of the first `n` that lie in a box. */
  inBox({ x0, y0, x1, y1 }: Box, n: number): number[] {
    return this.#those(n, (x, y) => x >= x0 && x <= x1 && y >= y0 && y <= y1);
  }

  /** The points of the first `n` inside a closed line of x, y, x, y, …: even-odd. */
  inside(line: readonly number[], n: number): number[] {
    const corners = line.length / 2;
    return this.#those(n, (x, y) => {
      let within = false;
      for (let k = 0, last = corners - 1; k < corners; last = k++) {
        const [ax, ay, bx, by] = [line[2 * k] ?? 0, line[2 * k + 1] ?? 0, line[2 * last] ?? 0, line[2 * last + 1] ?? 0];
        if (ay > y !== by > y && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) within = !within;
      }
      return within;
    });
  }

  #those(n: number, has: (x: number, y: number) => boolean): number[] {
    const found: number[] = [];
    for (let i = 0; i < n; i++) if (has(this.#xy[2 * i] ?? NaN, this.#xy[2 * i + 1] ?? NaN)) found.push(i);
    return found;
  }
}
