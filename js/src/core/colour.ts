/**
 * Colours of values. Out: for each theme 32 steps per sign (paper -> orange for positive, paper -> blue for negative,
 * mixed in OKLab), as a stylesheet of classes `ng-p1..32` and `ng-n1..32`, and `shade`, which turns a value and its
 * domain into a class. Text is black or white by the WCAG luminance of the finished background, so 4.5:1 always
 * holds. The second, non-colour channel is a bar that thickens with |value|: below for positive, above for negative.
 */

export type Theme = "light" | "dark";
export type RGB = readonly [number, number, number]; // 0..255

export const STEPS = 32;
/** The background of the picture in each theme; core.css uses the same values. */
export const PAPER: Record<Theme, string> = { light: "#ffffff", dark: "#14171c" };
const STOPS: Record<Theme, { p: string[]; n: string[] }> = {
  light: { p: [PAPER.light, "#ffbe85", "#ee6a12"], n: [PAPER.light, "#9cc6f7", "#3a86ea"] },
  dark: { p: [PAPER.dark, "#8a4408", "#ffa64d"], n: [PAPER.dark, "#1b4f91", "#7abaff"] },
};
const BLACK: RGB = [0, 0, 0];
const WHITE: RGB = [255, 255, 255];

export function parse(hex: string): RGB {
  const n = parseInt(hex.slice(1), 16);
  return [n >> 16, (n >> 8) & 255, n & 255];
}

const linear = (byte: number): number => {
  const c = byte / 255;
  return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
};
const encoded = (c: number): number => {
  const s = c <= 0.0031308 ? 12.92 * c : 1.055 * c ** (1 / 2.4) - 0.055;
  return Math.round(255 * Math.min(1, Math.max(0, s)));
};

/** WCAG relative luminance. */
export function luminance([r, g, b]: RGB): number {
  return 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
}

export function contrast(a: RGB, b: RGB): number {
  const [x, y] = [luminance(a), luminance(b)];
  return (Math.max(x, y) + 0.05) / (Math.min(x, y) + 0.05);
}

function toLab([red, green, blue]: RGB): RGB {
  const [r, g, b] = [linear(red), linear(green), linear(blue)];
  const l = Math.cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b);
  const m = Math.cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b);
  const s = Math.cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b);
  return [
    0.2104542553 * l + 0.793617785 * m - 0.0040720468 * s,
    1.9779984951 * l - 2.428592205 * m + 0.4505937099 * s,
    0.0259040371 * l + 0.7827717662 * m - 0.808675766 * s,
  ];
}

function fromLab([L, a, b]: RGB): RGB {
  const l = (L + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (L - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (L - 0.0894841775 * a - 1.291485548 * b) ** 3;
  return [
    encoded(4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s),
    encoded(-1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s),
    encoded(-0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s),
  ];
}

const mix = (a: RGB, b: RGB, t: number): RGB => [
  a[0] + (b[0] - a[0]) * t,
  a[1] + (b[1] - a[1]) * t,
  a[2] + (b[2] - a[2]) * t,
];

/** The colour at t in 0..1 along stops, even steps, in OKLab. */
export function along(stops: readonly string[], t: number): RGB {
  const at = Math.min(t, 1) * (stops.length - 1);
  const i = Math.min(Math.floor(at), stops.length - 2);
  return fromLab(mix(toLab(parse(stops[i] ?? "#000000")), toLab(parse(stops[i + 1] ?? "#000000")), at - i));
}

export interface Entry {
  name: string;
  background: RGB;
  text: RGB;
  bar: RGB;
  thickness: number; // px
}

/** The steps of one sign in one theme, weakest first. */
export function palette(theme: Theme, sign: "p" | "n"): Entry[] {
  return Array.from({ length: STEPS }, (_, k) => {
    const t = (k + 1) / STEPS;
    const background = along(STOPS[theme][sign], t);
    const text = luminance(background) > 0.179 ? BLACK : WHITE;
    const bar = mix(background, text, 0.62).map(Math.round) as unknown as RGB;
    return { name: `ng-${sign}${k + 1}`, background, text, bar, thickness: k < 2 ? 0 : 0.6 + 3 * t }; // next to nothing gets no bar
  });
}

const css = (colour: RGB): string => `rgb(${colour.join(" ")})`;

/** The stylesheet of both themes: one rule per step, and the two gradients of the legends. */
export function paletteCss(): string {
  const rules: string[] = [];
  for (const theme of ["light", "dark"] as const) {
    const scope = `.ng[data-theme=${theme}]`;
    const [positive, negative] = [palette(theme, "p"), palette(theme, "n")];
    const stops = (entries: Entry[]): string => entries.filter((_, k) => k % 4 === 3).map((e) => css(e.background)).join();
    const paper = PAPER[theme];
    rules.push(
      `${scope}{--ng-sequential:linear-gradient(90deg,${paper},${stops(positive)});` +
        `--ng-diverging:linear-gradient(90deg,${stops([...negative].reverse())},${paper},${stops(positive)})}`,
    );
    for (const [sign, entries] of [["", negative], ["-", positive]] as const) {
      for (const { name, background, text, bar, thickness } of entries) {
        rules.push(
          `${scope} .${name}{background:${css(background)};color:${css(text)};` +
            `box-shadow:inset 0 ${sign}${thickness.toFixed(1)}px ${css(bar)}}`,
        );
      }
    }
  }
  return rules.join("\n");
}

export interface Shade {
  name: string; // palette class, "ng-nan" where there is no value, "" at zero
  clipped: boolean; // the value lies beyond the domain
}

/** The class of a value; anything but zero gets at least the first step. `tolerance` is the error of the encoding. */
export function shade(value: number, [lo, hi]: readonly [number, number], signed: boolean, tolerance = 0): Shade {
  if (Number.isNaN(value)) return { name: "ng-nan", clipped: false };
  const clipped = value > hi + tolerance || value < lo - tolerance;
  const zero = signed ? 0 : lo;
  const away = signed ? Math.abs(value) : value - zero;
  if (away <= 0 || (!clipped && Math.abs(value - zero) <= tolerance && hi <= lo)) return { name: "", clipped };
  const step = Math.min(STEPS, Math.max(1, Math.ceil((STEPS * away) / (hi - zero) - 1e-6))) || STEPS;
  return { name: `ng-${value < zero ? "n" : "p"}${step}`, clipped };
}
