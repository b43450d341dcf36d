/**
 * How numbers and tokens are written: three significant digits with a true minus sign, percentages, and tokens in
 * quotation marks with their white space made visible. Pure functions.
 */

const MINUS = "\u2212";
const signs = (text: string): string => text.replace(/-/g, MINUS);

/** "0.00314", "3.14", "31,400", "1.2e−7", "∞", "no value (NaN)". */
export function compact(value: number, digits = 3): string {
  if (Number.isNaN(value)) return "no value (NaN)";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : `${MINUS}∞`;
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size < 1e-3 || size >= 1e6) return signs(Number(value.toPrecision(digits)).toExponential());
  return signs(Number(value.toPrecision(digits)).toLocaleString("en-US", { maximumFractionDigits: 12 }));
}

/** The same with an explicit plus: "+3.14". */
export const withSign = (value: number, digits = 3): string => (value > 0 ? "+" : "") + compact(value, digits);

/** A probability from its logarithm in nats: "12.3%", "<0.01%". */
export function percent(logprob: number): string {
  const p = 100 * Math.exp(logprob);
  if (Number.isNaN(p)) return "–";
  if (p < 0.01) return "<0.01%";
  if (p > 99.95 && p < 100) return ">99.9%";
  return `${p >= 9.95 ? p.toFixed(1) : p.toPrecision(2)}%`;
}

/** A token with its line breaks, tabs, and the spaces at its edges made visible: ·world, ⏎. */
export const visible = (piece: string): string =>
  piece
    .replace(/\n/g, "⏎")
    .replace(/\t/g, "⇥")
    .replace(/^ +| +$/g, (run) => "·".repeat(run.length));

/** The same in quotation marks: “·world”. */
export const quoted = (piece: string): string => `“${visible(piece)}”`;

/** "1 token", "12 tokens". */
export const count = (n: number, word: string): string => `${n.toLocaleString("en-US")} ${word}${n === 1 ? "" : "s"}`;
