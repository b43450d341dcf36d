/**
 * The field in which a person edits what the model reads. It grows with its text, and tells of every edit once an input
 * method has finished composing. In: a callback. Out: an element, its value, and whether something is being composed.
 */
import { focusable, h } from "./dom.js";

export class TextBox {
  readonly element: HTMLElement;
  composing = false;
  readonly #area: HTMLTextAreaElement;

  constructor(label: string, placeholder: string, changed: (text: string) => void) {
    const area = (this.#area = focusable(
      h("textarea", { class: "ng-text", rows: 1, spellcheck: "false", autocomplete: "off", autocapitalize: "off", "aria-label": label, placeholder, dir: "auto" }),
    ));
    this.element = h("div", { class: "ng-grow" }, area);
    area.addEventListener("compositionstart", () => {
      this.composing = true;
    });
    area.addEventListener("compositionend", () => {
      this.composing = false;
      this.#fit();
      changed(area.value);
    });
    area.addEventListener("input", (event) => {
      this.#fit();
      if (!this.composing && !event.isComposing) changed(area.value);
    });
  }

  get value(): string {
    return this.#area.value;
  }

  set value(text: string) {
    if (this.#area.value !== text) this.#area.value = text;
    this.#fit();
  }

  set readOnly(fixed: boolean) {
    this.#area.readOnly = fixed;
  }

  focus(): void {
    this.#area.focus();
  }

  /** A hidden copy of the text makes the height: no measuring, so it also works before the cell is shown. */
  #fit(): void {
    this.element.dataset.value = this.#area.value;
  }
}
