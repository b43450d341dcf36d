/**
 * The head of a row: its label, legend, overview of a long text, and what can be done to it. In: a row and what is allowed
 * here. Out: an element, and calls when a button is pressed or a place in the overview.
 */
import { button, h } from "../../core/dom.js";
import type { Theme } from "../../core/colour.js";
import { legendOf } from "../../core/legend.js";
import { Minimap } from "../../core/minimap.js";
import type { Row } from "../../core/picture.js";

const LONG = 300; // tokens; shorter texts are seen whole

export interface HeadActions {
  remove: () => void;
  lock: () => void; // or let go
  shift: (by: number) => void; // one up or down
  choose: () => void; // colour the one text by this row
  go: (token: number) => void;
}

export interface Allowed {
  lock: boolean;
  up: boolean;
  down: boolean;
  remove: boolean;
}

export class RowHead {
  readonly element: HTMLElement;
  readonly map: Minimap;
  readonly #label: HTMLElement;
  readonly #legend = h("span", { class: "ng-legend" });
  readonly #lock: HTMLButtonElement;
  readonly #up: HTMLButtonElement;
  readonly #down: HTMLButtonElement;
  readonly #remove: HTMLButtonElement;

  /** `together`: one text for all rows, so that a row is chosen by its label. */
  constructor(actions: HeadActions, signal: AbortSignal, together: boolean) {
    this.#label = together ? button("", { class: "ng-row-label" }, actions.choose) : h("span", { class: "ng-row-label" });
    this.#remove = button("×", { class: "ng-icon ng-row-remove", title: "remove this row" }, actions.remove);
    this.#lock = button("keep", { class: "ng-row-lock", title: "keep this row when the site changes" }, actions.lock);
    this.#up = button("↑", { class: "ng-icon", title: "move this row up" }, () => actions.shift(-1));
    this.#down = button("↓", { class: "ng-icon", title: "move this row down" }, () => actions.shift(1));
    this.map = new Minimap(signal, actions.go);
    const tools = h("span", { class: "ng-row-tools" }, this.#lock, this.#up, this.#down, this.#remove);
    this.element = h("div", { class: "ng-row-head" }, this.#label, this.#legend, tools, this.map.element);
  }

  show(row: Row, allowed: Allowed, chosen: boolean, theme: Theme): void {
    const label = this.#label;
    if (label.textContent !== row.label) label.textContent = label.title = row.label;
    if (label.tagName === "BUTTON") label.setAttribute("aria-pressed", String(chosen));
    this.#legend.replaceChildren(...legendOf(row));
    this.#lock.hidden = !allowed.lock;
    this.#lock.setAttribute("aria-pressed", String(row.locked));
    this.#up.hidden = this.#down.hidden = !allowed.up && !allowed.down;
    this.#up.disabled = !allowed.up;
    this.#down.disabled = !allowed.down;
    this.#remove.hidden = !allowed.remove;
    for (const [element, what] of [[this.#lock, "keep"], [this.#up, "move up"], [this.#down, "move down"], [this.#remove, "remove"]] as const) {
      element.setAttribute("aria-label", `${what} ${row.label}`);
    }
    this.map.element.hidden = row.values.length <= LONG;
    if (!this.map.element.hidden) this.map.show(row, theme);
  }
}
