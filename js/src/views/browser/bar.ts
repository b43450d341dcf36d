/**
 * The line above the table: how many features there are, what can be done with those that are ticked, and which columns
 * are shown. In: counts, lists, columns. Out: calls for each button. Knows no traits.
 */
import { button, focusable, h, setText, uuid } from "../../core/dom.js";
import { count } from "../../core/format.js";
import type { Choices, Remarks } from "./synced.js";

export interface BarActions {
  all: () => void; // tick all rows
  none: () => void;
  only: () => void; // the ticked ones become the subset
  every: () => void; // no subset any more
  put: (name: string) => void;
  drop: (name: string) => void;
  copy: () => Promise<boolean>;
  clear: () => void; // of all conditions
  column: (name: string, on: boolean) => void;
}

export interface BarShown {
  total: number;
  known: number; // rows in a page without a kernel
  features: number;
  subset: number;
  ticked: number;
  live: boolean;
  filtered: boolean;
  list: string; // the list that is shown
}

export class Bar {
  readonly element: HTMLElement;
  readonly #count = h("span", { class: "ng-found" });
  readonly #ticked = h("span", { class: "ng-quiet" });
  readonly #name = focusable(h("input", { type: "text", class: "ng-list-name", placeholder: "list", "aria-label": "name of a list", spellcheck: "false", autocomplete: "off", dir: "auto" }));
  readonly #names = h("datalist", { id: `lists-${uuid()}` });
  readonly #put: HTMLButtonElement;
  readonly #drop: HTMLButtonElement;
  readonly #with: HTMLElement;
  readonly #copy: HTMLButtonElement;
  readonly #all: HTMLButtonElement;
  readonly #every: HTMLButtonElement;
  readonly #clear: HTMLButtonElement;
  readonly #columns = h("div", { class: "ng-columns-all", role: "group", "aria-label": "columns that are shown" });
  readonly #menu: HTMLElement;
  #list = "";

  constructor(private readonly actions: BarActions) {
    this.#put = button("Add to list", { class: "ng-button" }, () => this.#add());
    this.#drop = button("Take off list", { class: "ng-button" }, () => actions.drop(this.#list));
    this.#name.setAttribute("list", this.#names.id);
    this.#name.addEventListener("keydown", ({ key }) => {
      if (key === "Enter") this.#add();
    });
    this.#name.addEventListener("input", () => this.#fit());
    this.#copy = button("Copy", { class: "ng-button", title: "copy the indices, as a list in Python" }, () => void this.#copied());
    this.#all = button("Tick all", { class: "ng-button" }, actions.all);
    this.#every = button("Show all", { class: "ng-button", title: "of the store, not these alone" }, actions.every);
    this.#clear = button("Clear conditions", { class: "ng-button" }, actions.clear);
    this.#with = h(
      "span",
      { class: "ng-ticked-bar" },
      this.#ticked,
      this.#name,
      this.#names,
      this.#put,
      this.#drop,
      button("Only these", { class: "ng-button", title: "show these features alone, here and in linked views" }, actions.only),
      button("Untick", { class: "ng-button" }, actions.none),
    );
    this.#menu = h("details", { class: "ng-menu" }, focusable(h("summary", { class: "ng-button" }, "Columns")), this.#columns);
    this.element = h("div", { class: "ng-bar-line" }, this.#count, this.#every, this.#clear, this.#with, h("span", { class: "ng-bar-end" }, this.#all, this.#copy, this.#menu));
  }

  show(shown: BarShown, remarks: Partial<Remarks>): void {
    const { total, known, features, subset, ticked, live, filtered, list } = shown;
    this.#list = list;
    const of = total === features ? "" : ` of ${features.toLocaleString("en-US")}`;
    setText(this.#count, `${total.toLocaleString("en-US")}${of} features${subset ? `, among ${count(subset, "chosen one")}` : ""}`);
    this.#every.hidden = subset === 0 || !live;
    this.#clear.hidden = !filtered || !live;
    this.#with.hidden = ticked === 0 || !live;
    this.#all.hidden = !live || total === 0;
    setText(this.#ticked, `${ticked.toLocaleString("en-US")} ticked`);
    this.#drop.hidden = list === "";
    this.#copy.hidden = total === 0;
    setText(this.#copy, ticked ? `Copy ${ticked.toLocaleString("en-US")}` : live || known === total ? "Copy all" : `Copy ${known.toLocaleString("en-US")}`);
    this.#names.replaceChildren(...(remarks.lists ?? []).map(([value]) => h("option", { value })));
    this.#fit();
  }

  /** The columns that there are, and those that are shown. */
  offer(choices: Choices, shown: readonly string[]): void {
    const boxes = [...this.#columns.querySelectorAll("input")];
    const names = choices.columns.filter(({ name, extra }) => !extra && name !== "feature");
    if (boxes.map(({ value }) => value).join() !== names.map(({ name }) => name).join()) {
      this.#columns.replaceChildren(
        ...names.map(({ name, label, what }) => {
          const box = focusable(h("input", { type: "checkbox", value: name }));
          box.addEventListener("change", () => this.actions.column(name, box.checked));
          return h("label", { title: what }, box, h("span", {}, label));
        }),
      );
    }
    for (const box of this.#columns.querySelectorAll("input")) box.checked = shown.includes(box.value);
  }

  close(): void {
    (this.#menu as HTMLDetailsElement).open = false;
  }

  #fit(): void {
    this.#put.disabled = this.#name.value.trim() === "";
  }

  #add(): void {
    const name = this.#name.value.trim();
    if (name) this.actions.put(name);
  }

  async #copied(): Promise<void> {
    const text = this.#copy.textContent;
    this.#copy.textContent = (await this.actions.copy()) ? "Copied" : "Not allowed to copy";
    setTimeout(() => {
      this.#copy.textContent = text;
    }, 1_500);
  }
}
