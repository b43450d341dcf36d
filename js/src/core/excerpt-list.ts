/**
 * Excerpts of texts below each other, each with a heading of its own, one span per token. In: lines with their tokens
 * and a function that gives each token its classes; between them whatever else there is. Out: `point` with the token
 * that is pointed at. All excerpts together are one tab stop: left and right go from token to token, up and down from
 * excerpt to excerpt. `repaint` swaps classes and nothing else.
 */
import "./excerpt-list.css";
import { focusable, h, uuid } from "./dom.js";
import { RTL, dress, shapeOf } from "./strip.js";

export interface Line {
  pieces: readonly string[];
  from: number;
  to: number; // only tokens from..to are shown
  home: number; // where up and down go to
  head: Node;
  label: string;
  classOf: (i: number) => string; // with a space before each class
}

/** The class of a token's kind: special ones, and those that are no characters. */
export const kindClass = (kind: number | undefined): string => (kind === 2 ? " ng-special" : kind === 1 ? " ng-raw" : "");

interface Shown {
  line: Line;
  direction: "rtl" | "ltr";
  tokens: HTMLElement[];
}

export class ExcerptList {
  readonly element: HTMLElement;
  readonly #name = uuid();
  #shown: Shown[] = [];
  #cursor: [excerpt: number, token: number] | null = null;

  constructor(
    label: string,
    private readonly point: (k: number | null, i: number, token: Element | null, byKey: boolean) => void,
  ) {
    this.element = focusable(h("div", { class: "ng-examples ng-flat", role: "listbox", "aria-label": label, tabindex: 0 }));
    this.#listen();
  }

  /** How many excerpts are shown. */
  get length(): number {
    return this.#shown.length;
  }

  show(parts: readonly (Line | Node)[]): void {
    this.#shown = [];
    this.element.replaceChildren(...parts.map((part) => (part instanceof Node ? part : this.#line(part))));
    this.#place();
  }

  /** The classes of all tokens anew; the text stays. */
  repaint(): void {
    for (const { line, tokens } of this.#shown) {
      tokens.forEach((token, k) => {
        const name = this.#classOf(line, line.from + k);
        if (token.className !== name) token.className = name;
      });
    }
    this.#place();
  }

  /** No token is pointed at any more. */
  letGo(): void {
    this.#cursor = null;
    this.#place();
  }

  #classOf(line: Line, i: number): string {
    return `ng-tok${shapeOf(line.pieces[i] ?? "")}${line.classOf(i)}`;
  }

  #line(line: Line): HTMLElement {
    const k = this.#shown.length;
    const tokens: HTMLElement[] = [];
    for (let i = line.from; i < line.to; i++) {
      const token = h("span", { role: "option", id: `${this.#name}-${k}-${i}` });
      token.dataset.i = String(i - line.from); // which of those shown
      dress(token, line.pieces[i] ?? "");
      token.className = this.#classOf(line, i);
      tokens.push(token);
    }
    const more = (there: boolean): Node[] => (there ? [h("span", { class: "ng-quiet", "aria-hidden": "true" }, "…")] : []);
    const direction = RTL.test(line.pieces.slice(line.from, line.to).join("")) ? "rtl" : "ltr";
    this.#shown.push({ line, direction, tokens });
    const text = h("div", { class: "ng-ex-text", role: "none", dir: direction }, ...more(line.from > 0), ...tokens, ...more(line.to < line.pieces.length));
    const row = h("div", { class: "ng-ex", role: "group", "aria-label": line.label }, line.head, text);
    row.dataset.k = String(k);
    return row;
  }

  #listen(): void {
    const box = this.element;
    box.addEventListener("pointerover", ({ target }) => {
      const token = target instanceof Element ? target.closest<HTMLElement>(".ng-tok") : null;
      const row = token?.closest<HTMLElement>(".ng-ex");
      const k = Number(row?.dataset.k ?? -1);
      const line = this.#shown[k]?.line;
      if (token && line) this.point(k, line.from + Number(token.dataset.i), token, false);
      else this.point(null, 0, null, false);
    });
    box.addEventListener("pointerleave", () => this.point(null, 0, null, false));
    box.addEventListener("blur", () => {
      this.letGo();
      this.point(null, 0, null, true);
    });
    box.addEventListener("keydown", (event) => this.#onKey(event));
  }

  #onKey(event: KeyboardEvent): void {
    if (event.target !== this.element || !this.#shown.length || event.ctrlKey || event.metaKey || event.altKey) return;
    const [k, i] = this.#cursor ?? [0, this.#shown[0]?.line.home ?? 0];
    const here = this.#shown[k];
    if (!here) return;
    const forward = here.direction === "rtl" ? -1 : 1;
    const step = this.#cursor === null ? 0 : 1; // the first key shows where the cursor is
    const { from, to } = here.line;
    const within = (goal: number): number => Math.max(from, Math.min(to - 1, goal));
    let goal: [number, number] | null = null;
    if (event.key === "ArrowRight" || event.key === "ArrowLeft") goal = [k, within(i + (event.key === "ArrowRight" ? step : -step) * forward)];
    else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      const next = Math.max(0, Math.min(this.#shown.length - 1, k + (event.key === "ArrowDown" ? step : -step)));
      goal = [next, this.#shown[next]?.line.home ?? 0];
    } else if (event.key === "Home") goal = [k, from];
    else if (event.key === "End") goal = [k, to - 1];
    else if (event.key === "Escape") {
      this.letGo();
      this.point(null, 0, null, true);
    }
    if (!goal) return;
    event.preventDefault();
    this.#cursor = goal;
    const token = this.#place();
    token?.scrollIntoView({ block: "nearest" });
    this.point(goal[0], goal[1], token, true);
  }

  #place(): HTMLElement | null {
    this.element.querySelector(".ng-cur")?.classList.remove("ng-cur");
    const [k, i] = this.#cursor ?? [-1, -1];
    const shown = this.#shown[k];
    const token = shown?.tokens[i - shown.line.from] ?? null;
    if (token) {
      token.classList.add("ng-cur");
      this.element.setAttribute("aria-activedescendant", token.id);
    } else {
      this.element.removeAttribute("aria-activedescendant");
    }
    return token;
  }
}
