import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { detectTheme, followTheme } from "../src/core/theme.js";

const { body, documentElement: html } = document;
let element: HTMLElement;
beforeEach(() => {
  element = document.createElement("div");
  body.append(element);
});
afterEach(() => {
  for (const node of [body, html]) for (const name of [...node.getAttributeNames()]) node.removeAttribute(name);
  body.replaceChildren();
  vi.unstubAllGlobals();
});

describe("detection", () => {
  test("JupyterLab, before everything else", () => {
    body.setAttribute("data-jp-theme-light", "false");
    expect(detectTheme(element, false)).toBe("dark");
    body.setAttribute("data-jp-theme-light", "true");
    html.setAttribute("theme", "dark");
    body.className = "dark";
    expect(detectTheme(element, true)).toBe("light");
  });

  test.each([
    ["vscode-dark", "dark"],
    ["vscode-high-contrast", "dark"],
    ["vscode-light", "light"],
    ["vscode-light vscode-high-contrast-light", "light"],
  ])("VS Code class %s", (name, theme) => {
    body.className = name;
    expect(detectTheme(element, theme === "light")).toBe(theme);
  });

  test.each([
    ["vscode-dark", "dark"],
    ["vscode-high-contrast", "dark"],
    ["vscode-light", "light"],
    ["vscode-high-contrast-light", "light"],
  ])("VS Code kind %s", (kind, theme) => {
    body.setAttribute("data-vscode-theme-kind", kind);
    expect(detectTheme(element, theme === "light")).toBe(theme);
  });

  test("Colab, an ancestor of marimo through its shadow root, then the system", () => {
    expect(detectTheme(element, true)).toBe("dark");
    expect(detectTheme(element, false)).toBe("light");
    html.setAttribute("theme", "dark");
    expect(detectTheme(element, false)).toBe("dark");
    html.removeAttribute("theme");
    const host = document.createElement("div");
    const outer = document.createElement("div");
    outer.className = "dark";
    outer.append(host);
    body.append(outer);
    host.attachShadow({ mode: "open" }).append(element);
    expect(detectTheme(element, false)).toBe("dark");
  });
});

test("an element that is not in the page yet", () => {
  const parent = document.createElement("div");
  parent.className = "dark";
  parent.append(element);
  expect(detectTheme(element, false)).toBe("dark");
  expect(detectTheme(document.createElement("div"), false)).toBe("light");
});

describe("following", () => {
  const tick = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 20));

  test("host, wish and system are followed until the signal ends", async () => {
    const listeners = new Set<() => void>();
    const query = (matches: boolean) => ({
      matches,
      addEventListener: (_: string, callback: () => void, { signal }: { signal: AbortSignal }) => {
        listeners.add(callback);
        signal.addEventListener("abort", () => listeners.delete(callback));
      },
    });
    const [media, forced] = [query(false), query(false)];
    vi.stubGlobal("matchMedia", (name: string) => (name.includes("forced") ? forced : media));
    const lifetime = new AbortController();
    const seen: string[] = [];
    let wish: "auto" | "dark" = "auto";
    const look = followTheme(element, () => wish, (theme) => seen.push(theme), lifetime.signal);
    expect(seen.at(-1)).toBe("light");
    media.matches = true;
    for (const callback of listeners) callback();
    expect(seen.at(-1)).toBe("dark");
    body.setAttribute("data-jp-theme-light", "true");
    await tick();
    expect(seen.at(-1)).toBe("light");
    wish = "dark";
    look();
    expect(seen.at(-1)).toBe("dark");
    // a person's own colours go before the wish
    [forced.matches, media.matches] = [true, false];
    for (const callback of listeners) callback();
    expect(seen.at(-1)).toBe("light");
    lifetime.abort();
    const count = seen.length;
    body.setAttribute("data-jp-theme-light", "false");
    await tick();
    expect(seen).toHaveLength(count);
    expect(listeners.size).toBe(0);
  });
});
