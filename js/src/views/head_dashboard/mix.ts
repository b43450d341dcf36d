/**
 * Two amounts in one colour: cyan is what a token writes where others read it (key), magenta what it reads (query). In:
 * two shares 0..1. Out: a class, and the stylesheet of all classes in both themes. Inks on light paper take light away, on
 * dark paper they give it. The second, non-colour channel: a bar below (key) and one above (query) that thicken.
 */
import { PAPER, type RGB, type Theme, luminance, parse } from "../../core/colour.js";

export const LEVELS = 8;
const INK: Record<Theme, { key: RGB; query: RGB }> = {
  light: { key: [0, 158, 190], query: [214, 51, 153] },
  dark: { key: [0, 120, 150], query: [168, 40, 122] },
};

export function mixed(theme: Theme, key: number, query: number): RGB {
  const paper = parse(PAPER[theme]);
  const ink = INK[theme];
  return paper.map((p, c) => {
    const [k, q] = [ink.key[c] ?? 0, ink.query[c] ?? 0];
    const value = theme === "light"
      ? p * (1 - key * (1 - k / 255)) * (1 - query * (1 - q / 255))
      : Math.min(255, p + key * Math.max(0, k - p) + query * Math.max(0, q - p));
    return Math.round(value);
  }) as unknown as RGB;
}

/** " ng-k3q0": anything above nothing has the first level. */
export function mixClass(key: number, query: number): string {
  const level = (share: number): number => (share > 0.004 ? Math.max(1, Math.min(LEVELS, Math.round(share * LEVELS))) : 0);
  const [k, q] = [level(key), level(query)];
  return k || q ? ` ng-k${k}q${q}` : "";
}

export function mixCss(): string {
  const rules: string[] = [];
  for (const theme of ["light", "dark"] as const) {
    for (let k = 0; k <= LEVELS; k++) {
      for (let q = 0; q <= LEVELS; q++) {
        if (!k && !q) continue;
        const colour = mixed(theme, k / LEVELS, q / LEVELS);
        const text = luminance(colour) > 0.179 ? "#000" : "#fff";
        const bar = (level: number, sign: string): string => (level > 1 ? `inset 0 ${sign}${(0.4 + 0.33 * level).toFixed(1)}px ${text}` : "");
        const bars = [bar(k, "-"), bar(q, "")].filter(Boolean).join();
        rules.push(`.ng[data-theme=${theme}] .ng-k${k}q${q}{background:rgb(${colour.join(" ")});color:${text};box-shadow:${bars || "none"}}`);
      }
    }
  }
  return rules.join("\n");
}
