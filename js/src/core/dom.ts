/**
 * Small helpers to make elements without HTML strings: everything that becomes visible passes through `h`, which
 * only sets attributes and appends text nodes. Also the view's unique name. No state.
 */

export type Kid = Node | string | null | undefined;
export type Attributes = Record<string, string | number | boolean | null | undefined>;

/** An element with attributes and children; strings become text nodes, `false` and null attributes are left out. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...kids: Kid[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...kids.filter((kid) => kid !== null && kid !== undefined));
  return element;
}

/** A push button that JupyterLab's command mode leaves alone. */
export function button(name: string, attributes: Attributes, onClick: () => void): HTMLButtonElement {
  const element = focusable(h("button", { type: "button", ...attributes }, name));
  element.addEventListener("click", onClick);
  return element;
}

/** Marks an element that takes the focus: JupyterLab looks for this on the focused element itself, not on its parents. */
export function focusable<E extends HTMLElement>(element: E): E {
  element.setAttribute("data-lm-suppress-shortcuts", "true");
  return element;
}

/** Sets text only where it changed, so live regions and selections are not disturbed. */
export function setText(element: HTMLElement, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

/** A random name for a mounted view; `randomUUID` is missing on plain http pages. */
export function uuid(): string {
  if (typeof crypto.randomUUID === "function") return crypto.randomUUID();
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The error of whatever was thrown, as the box in the cell shows it. */
export function describe(thrown: unknown): { type: string; message: string } {
  return thrown instanceof Error
    ? { type: thrown.name, message: thrown.message }
    : { type: "Error", message: String(thrown) };
}
