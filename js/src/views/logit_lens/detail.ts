/**
 * The panel under the grid about the pinned cell. In: a cell, later the kernel's answer (its ten likeliest tokens). Out:
 * an element.
 */
import { button, h } from "../../core/dom.js";
import { type Likely, ranking } from "../../core/facts.js";
import type { Reply } from "../../core/protocol.js";
import type { Cell } from "./picture.js";
import { factsOf, heading } from "./words.js";

export class Detail {
  readonly element = h("section", { class: "ng-detail", "aria-label": "selected cell", hidden: true });
  #answer: HTMLElement | null = null;
  #target = -1;

  constructor(private readonly close: () => void) {}

  hide(): void {
    this.element.hidden = true;
    this.element.replaceChildren();
  }

  /** Draws what the frame knows; `live` leaves room for the kernel's answer. */
  show(cell: Cell, live: boolean): void {
    const [piece, place] = heading(cell);
    this.#target = cell.targetId;
    this.#answer = live ? h("div", { class: "ng-answer", "aria-busy": "true" }, h("span", { class: "ng-quiet" }, "asking the kernel…")) : null;
    this.element.replaceChildren(
      h(
        "header",
        { class: "ng-detail-head" },
        piece,
        h("span", { class: "ng-quiet", title: place }, place),
        button("×", { class: "ng-icon ng-detail-close", "aria-label": "close", title: "close (Escape)" }, this.close),
      ),
      h("div", { class: "ng-columns" }, factsOf(cell), this.#answer),
    );
    this.element.hidden = false;
  }

  /** The kernel's answer to what is shown. */
  answer({ error, strongest }: Reply): void {
    if (!this.#answer) return;
    this.#answer.removeAttribute("aria-busy");
    this.#answer.replaceChildren(
      error
        ? h("p", { class: "ng-failure", role: "alert" }, `${error.message} ${error.hint ?? ""}`)
        : ranking("likeliest here", Array.isArray(strongest) ? (strongest as Likely[]) : [], this.#target, "◂ target", "the token whose rank is told"),
    );
  }
}
