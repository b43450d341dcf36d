/**
 * Points as pixels: 100,000 small discs a frame are too many for a canvas's paths, and few for plain memory. In: where the
 * points are on the canvas, their colours and shapes. Out: pixels. Each shape is a stamp, a list of offsets with how much
 * of the pixel it covers; edges are blended.
 */
export type Shape = 0 | 1 | 2 | 3; // disc, diamond, square, hollow ring

export interface Stamp {
  reach: number; // pixels from the middle
  dx: Int8Array;
  dy: Int8Array;
  cover: Uint8Array; // 0..255
}

/** A shape of a radius in pixels. */
export function stampOf(shape: Shape, radius: number): Stamp {
  const reach = Math.min(60, Math.ceil(radius + 0.5));
  const points: [number, number, number][] = [];
  for (let y = -reach; y <= reach; y++) {
    for (let x = -reach; x <= reach; x++) {
      const away = Math.hypot(x, y);
      const inside =
        shape === 1 ? 1.15 * radius - (Math.abs(x) + Math.abs(y)) * 0.8
        : shape === 2 ? 0.9 * radius - Math.max(Math.abs(x), Math.abs(y))
        : shape === 3 ? Math.max(0.55, 0.22 * radius) - Math.abs(away - radius * 0.9)
        : radius - away;
      const cover = Math.round(255 * Math.max(0, Math.min(1, inside + 0.5)));
      if (cover > 8) points.push([x, y, cover]);
    }
  }
  return {
    reach,
    dx: Int8Array.from(points, ([x]) => x),
    dy: Int8Array.from(points, ([, y]) => y),
    cover: Uint8Array.from(points, ([, , cover]) => cover),
  };
}

const mix = (under: number, over: number, cover: number): number => {
  const part = (shift: number): number => {
    const u = (under >>> shift) & 255;
    return ((u + ((((over >>> shift) & 255) - u) * cover) / 255) & 255) << shift;
  };
  return ((255 << 24) | part(16) | part(8) | part(0)) >>> 0;
};

/** Where the map lies on the canvas: x ↦ x·scale + left, y ↦ top − y·scale. */
export interface Lie {
  scale: number;
  left: number;
  top: number;
}

/** Draws the points `which`, one after the other; returns how many of them are on the canvas. */
export function stampAll(
  pixels: Uint32Array, width: number, height: number, xy: Float32Array, which: Uint32Array,
  colourOf: (i: number) => number, stampFor: (i: number) => Stamp, { scale, left, top }: Lie,
): number {
  let seen = 0;
  for (const i of which) {
    const x = Math.round((xy[2 * i] ?? NaN) * scale + left);
    const y = Math.round(top - (xy[2 * i + 1] ?? NaN) * scale);
    const stamp = stampFor(i);
    const { reach, dx, dy, cover } = stamp;
    if (!(x > -reach && y > -reach && x < width + reach && y < height + reach)) continue; // NaN, too
    seen++;
    const colour = colourOf(i);
    const whole = x >= reach && y >= reach && x < width - reach && y < height - reach;
    for (let k = 0; k < dx.length; k++) {
      const px = x + (dx[k] ?? 0);
      const py = y + (dy[k] ?? 0);
      if (!whole && (px < 0 || py < 0 || px >= width || py >= height)) continue;
      const at = py * width + px;
      const c = cover[k] ?? 0;
      pixels[at] = c === 255 ? colour : mix(pixels[at] ?? 0, colour, c);
    }
  }
  return seen;
}
