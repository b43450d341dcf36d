/**
 * What people and programs said of the feature: explanations with author and scores, a rating, a note, lists. In: all of
 * it. Out: `write` with what a person adds; it is kept in the store.
 */
import { button, focusable, h } from "../../core/dom.js";
import { compact } from "../../core/format.js";
import type { WireSaid } from "./synced.js";

const STARS = [1, 2, 3, 4, 5] as const;

export class Said {
  readonly element: HTMLElement;
  readonly #list = h("ul", { class: "ng-explanations" });
  readonly #explain = focusable(h("input", { type: "text", class: "ng-query", "aria-label": "an explanation of your own", placeholder: "It fires on…", dir: "auto" }));
  readonly #stars: HTMLButtonElement[];
  readonly #note = focusable(h("input", { type: "text", class: "ng-query", "aria-label": "note", placeholder: "a note", dir: "auto" }));
  readonly #lists = h("span", { class: "ng-chips" });
  readonly #name = focusable(h("input", { type: "text", class: "ng-list-name", "aria-label": "name of a list", placeholder: "a list" }));
  readonly #edit: HTMLElement;
  readonly #failure = h("p", { class: "ng-failure", role: "alert", hidden: true });
  #said: WireSaid | null = null;

  constructor(private readonly write: (kind: string, what: object) => void) {
    const enter = (field: HTMLInputElement, kind: string, what: (text: string) => object): void => {
      field.addEventListener("keydown", (event) => {
        if (event.key === "Enter" && !event.isComposing) write(kind, what(field.value));
      });
    };
    enter(this.#explain, "explain", (text) => ({ text }));
    enter(this.#note, "note", (text) => ({ text }));
    enter(this.#name, "put", (name) => ({ name }));
    this.#stars = STARS.map((value) =>
      button("☆", { class: "ng-star", "aria-label": `rate ${value} of 5`, "aria-pressed": "false" }, () => write("rate", { value: this.#said?.rating === value ? null : value })),
    );
    const field = (name: string, title: string, ...of: Node[]): HTMLElement => h("div", { class: "ng-field", title }, h("span", { class: "ng-name" }, name), ...of);
    this.#edit = h(
      "div",
      { class: "ng-said-edit" },
      h("div", { class: "ng-find-line" }, this.#explain, button("Add explanation", { class: "ng-button" }, () => write("explain", { text: this.#explain.value }))),
      h(
        "div",
        { class: "ng-find-line" },
        field("rating", "how well one can tell what it is for, 1 to 5; once more takes it back", h("span", { class: "ng-stars", role: "group", "aria-label": "rating" }, ...this.#stars)),
        this.#note,
        button("Save note", { class: "ng-button" }, () => write("note", { text: this.#note.value })),
      ),
      h("div", { class: "ng-find-line" }, field("lists", "", this.#lists), this.#name, button("Put on list", { class: "ng-button" }, () => write("put", { name: this.#name.value }))),
    );
    this.element = h("section", { class: "ng-dash-said", "aria-label": "explanations and notes" }, h("div", { class: "ng-part-head" }, h("h4", {}, "Explanations and notes")), this.#list, this.#edit, this.#failure);
  }

  show(said: WireSaid, live: boolean): void {
    this.#said = said;
    this.#edit.hidden = !live;
    this.#failure.hidden = true;
    this.#explain.value = this.#name.value = "";
    this.#note.value = said.note;
    this.#stars.forEach((star, k) => {
      star.setAttribute("aria-pressed", String(said.rating === k + 1));
      const lit = said.rating !== null && k < said.rating;
      star.classList.toggle("ng-lit", lit);
      star.textContent = lit ? "★" : "☆";
    });
    this.#lists.replaceChildren(...said.lists.map((name) => button(`${name} ×`, { class: "ng-chip", title: `take it off the list ${name}`, "aria-label": `take it off the list ${name}` }, () => this.write("drop", { name }))));
    this.#list.replaceChildren(
      ...said.explanations.map(({ text, author, created, scores }) => {
        const told = Object.entries(scores).map(([name, value]) => `${name} ${value === null ? "undefined" : compact(value)}`);
        return h("li", {}, h("span", { dir: "auto" }, text), h("span", { class: "ng-quiet", title: created }, [author, ...told].join(" · ")));
      }),
      ...(said.explanations.length ? [] : [h("li", { class: "ng-quiet" }, "Nobody has explained it yet.")]),
      ...(live || !said.note ? [] : [h("li", {}, said.note, h("span", { class: "ng-quiet" }, "note"))]),
    );
  }

  fail(message: string): void {
    this.#failure.textContent = message;
    this.#failure.hidden = false;
  }
}
