import { describe, expect, test } from "vitest";
import { PAPER, STEPS, contrast, luminance, palette, paletteCss, parse, shade } from "../src/core/colour.js";

const sides = (["light", "dark"] as const).flatMap((theme) => (["p", "n"] as const).map((sign) => ({ theme, sign })));

describe.each(sides)("$theme $sign", ({ theme, sign }) => {
  const entries = palette(theme, sign);

  test("every step keeps text at 4.5:1 or better, black exactly where the background is light enough", () => {
    expect(entries).toHaveLength(STEPS);
    for (const { background, text, name } of entries) {
      expect(contrast(background, text), name).toBeGreaterThanOrEqual(4.5);
      expect(text[0], name).toBe(luminance(background) > 0.179 ? 0 : 255);
    }
  });

  test("steps move away from the paper evenly, in lightness and in the thickness of the bar", () => {
    const away = entries.map(({ background }) => Math.abs(luminance(background) - luminance(parse(PAPER[theme]))));
    for (let k = 1; k < STEPS; k++) {
      expect(away[k] ?? 0).toBeGreaterThan(away[k - 1] ?? 0);
      if (k >= 2) expect(entries[k]?.thickness ?? 0).toBeGreaterThan(entries[k - 1]?.thickness ?? 0);
      else expect(entries[k]?.thickness).toBe(0);
    }
    expect(contrast(entries[0]?.background ?? [0, 0, 0], parse(PAPER[theme]))).toBeLessThan(1.1);
  });

  test("the bar can be told from its background", () => {
    for (const { background, bar, name } of entries) expect(contrast(background, bar), name).toBeGreaterThan(2);
  });
});

test("the stylesheet has each class once per theme, and only inside .ng", () => {
  const rules = paletteCss().split("\n");
  expect(rules.filter((rule) => rule.includes(".ng-p32{"))).toHaveLength(2);
  expect(rules.every((rule) => rule.startsWith(".ng[data-theme="))).toBe(true);
});

describe("shade", () => {
  test("ends and middle of the scale", () => {
    expect(shade(0, [0, 4], false)).toEqual({ name: "", clipped: false });
    expect(shade(0.001, [0, 4], false).name).toBe("ng-p1");
    expect(shade(2, [0, 4], false).name).toBe("ng-p16");
    expect(shade(4, [0, 4], false)).toEqual({ name: "ng-p32", clipped: false });
    expect(shade(-4, [-4, 4], true)).toEqual({ name: "ng-n32", clipped: false });
    expect(shade(1, [-4, 4], true).name).toBe("ng-p8");
  });

  test("beyond the scale, infinite and missing", () => {
    expect(shade(5, [0, 4], false)).toEqual({ name: "ng-p32", clipped: true });
    expect(shade(-Infinity, [-4, 4], true)).toEqual({ name: "ng-n32", clipped: true });
    expect(shade(Infinity, [0, 0], false)).toEqual({ name: "ng-p32", clipped: true });
    expect(shade(0, [0, 0], false)).toEqual({ name: "", clipped: false });
    expect(shade(NaN, [0, 4], false)).toEqual({ name: "ng-nan", clipped: false });
    expect(shade(-1, [0, 4], false).clipped).toBe(true);
  });

  test("a quantised maximum is not called clipped", () => {
    expect(shade(4.004, [0, 4], false, 0.01).clipped).toBe(false);
  });
});
