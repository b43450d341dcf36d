/**
 * Pointing at the tokens of one strip, by pointer or keyboard. In: the strip. Out: `point` with the token that is pointed
 * at (null: none any more), `pick` when it is clicked or Enter is pressed. The strip is one tab stop.
 */
import { uuid } from "./dom.js";
import type { Strip } from "./strip.js";

export interface PointerActions {
  point: (i: number | null, token: Element | null, byKey: boolean) => void;
  pick?: (i: number) => void;
}

export class TokenPointer {
  /** The token at the keyboard's cursor, while the strip has the focus; else -1. */
  cursor = -1;
  #last = 0;
  readonly #name = `token-${uuid()}`; // of the token that the strip says is active

  constructor(
    private readonly strip: Strip,
    private readonly actions: PointerActions,
  ) {
    const { element } = strip;
    element.tabIndex = 0;
    element.addEventListener("pointerover", ({ target }) => {
      const token = this.#tokenOf(target);
      actions.point(token && Number(token.dataset.i), token, false);
    });
    element.addEventListener("pointerleave", () => actions.point(null, null, false));
    element.addEventListener("blur", () => this.#move(-1));
    element.addEventListener("click", ({ target }) => {
      const token = this.#tokenOf(target);
      if (token) actions.pick?.(Number(token.dataset.i));
    });
    element.addEventListener("keydown", (event) => this.#key(event));
  }

  /** The class that shows where the keyboard is. */
  classOf(i: number): string {
    return i === this.cursor ? " ng-cur" : "";
  }

  #tokenOf(target: EventTarget | null): HTMLElement | null {
    return target instanceof Element ? target.closest<HTMLElement>(".ng-tok") : null;
  }

  #key(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const last = this.strip.length - 1;
    const now = this.cursor >= 0 ? this.cursor : this.#last;
    const forward = this.strip.direction === "rtl" ? -1 : 1;
    const first = this.cursor < 0; // the first key shows where the cursor is
    const goal = { ArrowRight: now + (first ? 0 : forward), ArrowLeft: now - (first ? 0 : forward), Home: 0, End: last }[event.key];
    if (goal !== undefined && last >= 0) {
      event.preventDefault();
      this.#move(Math.max(0, Math.min(last, goal)));
    } else if (event.key === "Enter" && this.cursor >= 0) {
      this.actions.pick?.(this.cursor);
    } else if (event.key === "Escape") {
      this.#move(-1);
    }
  }

  #move(goal: number): void {
    const before = this.cursor;
    if (before === goal) return;
    this.cursor = goal;
    if (goal >= 0) this.#last = goal;
    const { element } = this.strip;
    element.querySelector(`#${this.#name}`)?.removeAttribute("id");
    const token = goal >= 0 ? this.strip.reveal(goal) : null;
    if (token) {
      token.id = this.#name;
      element.setAttribute("aria-activedescendant", this.#name);
    } else {
      element.removeAttribute("aria-activedescendant");
    }
    for (const i of [before, goal]) if (i >= 0) this.strip.repaint(i);
    this.actions.point(token ? goal : null, token, true);
  }
}
