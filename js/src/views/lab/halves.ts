/**
 * The lower half of a token: a bar below it, taller and stronger for a larger simulated value. In: a value and where the
 * scale ends. Out: a class, and the stylesheet of all of them. The upper half is the palette of every token.
 */
import { palette } from "../../core/colour.js";

const LEVELS = 8;
const TALLEST = 9; // px

/** The class of a simulated value, with a space before it; "" where there is none to see. */
export function lowerClass(value: number, end: number): string {
  if (!value || Number.isNaN(value)) return "";
  const level = Math.min(LEVELS, Math.max(1, Math.ceil((LEVELS * Math.abs(value)) / end - 1e-6)));
  return ` ng-low-${value < 0 ? "n" : "p"}${level}`;
}

export function lowerCss(): string {
  const rules: string[] = [];
  for (const theme of ["light", "dark"] as const) {
    for (const sign of ["p", "n"] as const) {
      const steps = palette(theme, sign);
      for (let level = 1; level <= LEVELS; level++) {
        const colour = steps[7 + 3 * level]?.background.join(" ") ?? ""; // never so pale that a low bar is lost
        const tall = Math.round(1 + ((TALLEST - 1) * level) / LEVELS);
        rules.push(`.ng[data-theme=${theme}] .ng-low-${sign}${level}{border-bottom:${tall}px solid rgb(${colour})}`);
      }
    }
  }
  return rules.join("\n");
}
