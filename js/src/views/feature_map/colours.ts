/**
 * What colour a point has. In: a column or a category, and the theme. Out: for each point a palette entry and whether it is
 * drawn hollow (no value, or zero on a logarithmic scale). Weak values must be seen, too, so the ramps do not begin at the
 * paper: luminance falls (rises in the dark) along them, which every kind of colour vision sees, and every step has 3:1 on it.
 */
import { PAPER, type RGB, type Theme, along, parse } from "../../core/colour.js";
import type { Category, Column, Picture } from "./picture.js";

export const STEPS = 48;
const SEQUENTIAL: Record<Theme, readonly string[]> = {
  light: ["#6d8fc4", "#c2571a", "#3d0b4f"],
  dark: ["#4f76b3", "#e8823f", "#fff2b0"],
};
const SIGNED: Record<Theme, readonly string[]> = {
  light: ["#0b3d91", "#7f8791", "#a33c00"],
  dark: ["#8cc2ff", "#6a7380", "#ffb066"],
};
// Okabe and Ito's, those that are too light or too dark for the paper moved
const HUES: Record<Theme, readonly string[]> = {
  light: ["#0072b2", "#d55e00", "#008a66", "#b8578f", "#8a7a00", "#3f8fc2", "#555555", "#8a4a1f"],
  dark: ["#56b4e9", "#e69f00", "#2fc29a", "#e39ac4", "#f0e442", "#7f9dff", "#b8bec6", "#d08a5a"],
};
const NOTHING: Record<Theme, string> = { light: "#7d8590", dark: "#77808d" };
export const HOLLOW = STEPS; // palette entry of what has no value, or is zero

const css = (colour: RGB): string => `rgb(${colour.join(" ")})`;
const word = ([r, g, b]: RGB): number => ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0; // as canvas memory has it
const towards = (colour: RGB, paper: RGB, t: number): RGB =>
  colour.map((c, k) => Math.round(c + ((paper[k] ?? 0) - c) * t)) as unknown as RGB;

/** The colours of one theme: the ramp, the hollow one, then the categories. */
export function palette(theme: Theme, signed: boolean): RGB[] {
  const stops = (signed ? SIGNED : SEQUENTIAL)[theme];
  return [
    ...Array.from({ length: STEPS }, (_, k) => along(stops, k / (STEPS - 1))),
    parse(NOTHING[theme]),
    ...HUES[theme].map(parse),
  ];
}

export const rampCss = (theme: Theme, signed: boolean): string =>
  `linear-gradient(90deg,${palette(theme, signed).slice(0, STEPS).filter((_, k) => k % 6 === 0 || k === STEPS - 1).map(css).join()})`;

export const hueCss = (theme: Theme, code: number): string => {
  const hues = HUES[theme];
  return hues[code % hues.length] ?? "";
};

export interface Paint {
  entry: Uint8Array; // of the palette, by point
  full: Uint32Array; // the palette, as pixels
  faint: Uint32Array; // of points that are not selected while others are
  paper: number;
}

export function paint(picture: Picture, by: Column | Category | null, theme: Theme): Paint {
  const entry = new Uint8Array(picture.n).fill(HOLLOW);
  let signed = false;
  if (by && "codes" in by) {
    const hues = HUES[theme].length;
    by.codes.forEach((code, i) => (entry[i] = code === by.none ? HOLLOW : HOLLOW + 1 + (code % hues)));
  } else if (by) {
    signed = by.signed;
    const width = by.hi - by.lo;
    const of = by.values.map((v) => {
      if (Number.isNaN(v) || v <= by.zeroAt) return HOLLOW;
      return width > 0 ? Math.max(0, Math.min(STEPS - 1, Math.round(((v - by.lo) / width) * (STEPS - 1)))) : STEPS >> 1;
    });
    for (let i = 0; i < picture.n; i++) entry[i] = of(i);
  }
  const colours = palette(theme, signed);
  const paper = parse(PAPER[theme]);
  return {
    entry,
    full: Uint32Array.from(colours, word),
    faint: Uint32Array.from(colours, (colour) => word(towards(colour, paper, 0.8))),
    paper: word(paper),
  };
}
