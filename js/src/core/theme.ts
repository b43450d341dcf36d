/**
 * Which theme the host shows. In: an element (marimo nests it in shadow roots) and the wish "auto", "light" or
 * "dark". Out: calls of `apply` whenever the answer changes, until the signal ends.
 */
import type { Theme } from "./colour.js";

export type ThemeWish = "auto" | Theme;

/** The element and its ancestors, through shadow roots. */
function* ancestors(element: Element): Generator<Element> {
  let at: Element | null = element;
  while (at) {
    yield at;
    const root: Node | null = at.parentElement ? null : at.getRootNode();
    at = root instanceof ShadowRoot ? root.host : at.parentElement;
  }
}

export function detectTheme(element: Element, dark: boolean): Theme {
  const { body, documentElement } = document;
  const jupyter = body.getAttribute("data-jp-theme-light");
  if (jupyter !== null) return jupyter === "false" ? "dark" : "light";
  const code = body.getAttribute("data-vscode-theme-kind");
  if (code !== null) return /dark|high-contrast$/.test(code) ? "dark" : "light";
  if (/(^|\s)vscode-(dark|high-contrast)(\s|$)/.test(body.className)) return "dark";
  if (body.classList.contains("vscode-light")) return "light";
  const colab = documentElement.getAttribute("theme");
  if (colab === "dark" || colab === "light") return colab;
  for (const ancestor of ancestors(element)) if (ancestor.classList.contains("dark")) return "dark";
  if (documentElement.classList.contains("light") || body.classList.contains("light")) return "light";
  return dark ? "dark" : "light";
}

/** Follows the host; the function it returns looks again (after the wish has changed, or the element was moved). */
export function followTheme(
  element: Element,
  wish: () => ThemeWish,
  apply: (theme: Theme) => void,
  signal: AbortSignal,
): () => void {
  const ask = (query: string): MediaQueryList | null => (typeof matchMedia === "function" ? matchMedia(query) : null);
  const media = ask("(prefers-color-scheme: dark)");
  const forced = ask("(forced-colors: active)");
  const look = (): void => {
    const dark = media?.matches ?? false;
    const wanted = wish();
    // where a person's own colours are in force, the paper is theirs, whatever the host or the notebook wants
    if (forced?.matches) apply(dark ? "dark" : "light");
    else apply(wanted === "light" || wanted === "dark" ? wanted : detectTheme(element, dark));
  };
  const observer = new MutationObserver(look);
  const watch = (): void => {
    if (signal.aborted) return;
    const attributeFilter = ["class", "theme", "data-jp-theme-light", "data-vscode-theme-kind"];
    for (const node of new Set([document.documentElement, document.body, ...ancestors(element)])) {
      if (node !== element) observer.observe(node, { attributes: true, attributeFilter });
    }
    look();
  };
  // the element is often attached only after render: look once more when it has its ancestors
  const frame = requestAnimationFrame(watch);
  signal.addEventListener("abort", () => {
    observer.disconnect();
    cancelAnimationFrame(frame);
  });
  for (const query of [media, forced]) query?.addEventListener("change", look, { signal });
  watch();
  return look;
}
