/** What is selected: how many, onto which list they go, and the way to let go. In: counts, names of lists. Out: calls. */
import { button, focusable, h, setText } from "../../core/dom.js";
import { count } from "../../core/format.js";

export interface ChosenActions {
  put: (name: string) => void;
  clear: () => void;
}

export class Chosen {
  readonly element: HTMLElement;
  readonly #count = h("span", { class: "ng-map-count", role: "status" });
  readonly #names: HTMLDataListElement;
  readonly #field: HTMLInputElement;
  readonly #put: HTMLButtonElement;
  readonly #said = h("span", { class: "ng-quiet", role: "status" });
  readonly #form: HTMLElement;

  constructor(name: string, actions: ChosenActions) {
    const id = `${name}-lists`;
    this.#names = h("datalist", { id });
    this.#field = focusable(h("input", { class: "ng-map-list", type: "text", list: id, placeholder: "list", "aria-label": "name of the list", autocomplete: "off", dir: "auto" }));
    const put = (): void => {
      if (this.#field.value.trim()) actions.put(this.#field.value.trim());
      else this.#field.focus();
    };
    this.#field.addEventListener("keydown", ({ key }) => {
      if (key === "Enter") put();
    });
    this.#put = button("add to list…", { class: "ng-button" }, put);
    this.#form = h("span", { class: "ng-map-form" }, this.#field, this.#names, this.#put);
    const clear = button("clear", { class: "ng-button" }, actions.clear);
    this.element = h("div", { class: "ng-map-chosen", hidden: true }, this.#count, clear, this.#form, this.#said);
  }

  show(n: number, lists: readonly string[], writable: boolean): void {
    this.element.hidden = n === 0;
    setText(this.#count, `${count(n, "feature")} selected`);
    this.#form.hidden = !writable;
    this.#names.replaceChildren(...lists.map((value) => h("option", { value })));
    if (n === 0) this.say("");
  }

  say(text: string): void {
    setText(this.#said, text);
  }
}
