/**
 * The panel about the selected feature: its explanation, and what a person says of it: rating, note, lists. In: the
 * feature and what was said. Out: calls with what is said now. Without a kernel it only shows. Knows no traits.
 */
import { button, focusable, h, setText } from "../../core/dom.js";
import { compact } from "../../core/format.js";
import type { Said } from "./synced.js";

export interface PanelActions {
  rate: (feature: number, value: number | null) => void;
  note: (feature: number, text: string) => void;
  drop: (feature: number, list: string) => void;
  close: () => void;
}

const MEANING = "how well can one tell what it is for? 1: not at all, 5: at once; again takes it back";

export class Panel {
  readonly element = h("section", { class: "ng-detail ng-one", "aria-label": "the selected feature", hidden: true });
  readonly #name = h("b", { class: "ng-feature-name" });
  readonly #id = h("span", { class: "ng-quiet" });
  readonly #explained = h("p", { class: "ng-explained", dir: "auto" });
  readonly #rates: HTMLButtonElement[];
  readonly #rating: HTMLElement;
  readonly #lists = h("span", { class: "ng-on-lists" });
  readonly #note = focusable(h("input", { type: "text", class: "ng-note-text", placeholder: "a note", "aria-label": "note", dir: "auto" }));
  readonly #noted = h("label", { class: "ng-field ng-note-field" }, h("span", { class: "ng-name" }, "note"), this.#note);
  #feature: number | null = null;
  #now: Said | null = null;

  constructor(private readonly actions: PanelActions) {
    this.#rates = [1, 2, 3, 4, 5].map((value) =>
      button(String(value), { class: "ng-rate", "aria-pressed": "false", "aria-label": `rate ${value}` }, () => {
        if (this.#feature !== null) actions.rate(this.#feature, this.#now?.rating === value ? null : value);
      }),
    );
    this.#rating = h("span", { class: "ng-field", role: "group", "aria-label": "rating", title: MEANING }, h("span", { class: "ng-name" }, "rating"), ...this.#rates);
    this.#note.addEventListener("change", () => this.#write());
    this.#note.addEventListener("keydown", ({ key }) => {
      if (key === "Enter") this.#write();
    });
    this.element.append(
      h("div", { class: "ng-detail-head" }, this.#name, this.#id, button("×", { class: "ng-icon ng-detail-close", "aria-label": "close", title: "let go of the feature (Escape)" }, actions.close)),
      this.#explained,
      h("div", { class: "ng-one-line" }, this.#rating, this.#lists, this.#noted),
    );
  }

  /** `brief`: the feature's page stands below and says the rest. */
  show(feature: number | null, id: string, said: Said | null, live: boolean, brief: boolean): void {
    if (feature !== this.#feature && this.#note.matches(":focus")) this.#write(); // half a note is not lost
    this.element.hidden = feature === null;
    const other = feature !== this.#feature;
    this.#feature = feature;
    this.#now = said;
    if (feature === null) return;
    setText(this.#name, `feature ${feature}`);
    setText(this.#id, id);
    const more = said?.more ? ` · ${said.more} more` : "";
    const by = said?.explanation ? ` (${said.author ?? "unknown"}${said.score === null ? ", no score" : `, score ${compact(said.score)}`}${more})` : "";
    this.#explained.hidden = brief;
    this.#explained.replaceChildren(...(said?.explanation ? [said.explanation, h("span", { class: "ng-quiet" }, by)] : [h("span", { class: "ng-quiet" }, "No explanation yet.")]));
    this.#rates.forEach((rate, k) => {
      rate.setAttribute("aria-pressed", String(said?.rating === k + 1));
      rate.disabled = !live;
    });
    this.#lists.replaceChildren(
      ...(said?.lists ?? []).map((name) => {
        if (!live) return h("span", { class: "ng-on-list" }, name);
        return h("span", { class: "ng-on-list" }, name, button("×", { class: "ng-icon", "aria-label": `take off ${name}` }, () => this.actions.drop(feature, name)));
      }),
    );
    this.#note.readOnly = !live;
    this.#noted.hidden = !live && !said?.note;
    if (other || !this.#note.matches(":focus")) this.#note.value = said?.note ?? "";
  }

  /** Goes to the note, for keys. */
  write(): void {
    this.#note.focus();
  }

  #write(): void {
    const text = this.#note.value.trim();
    if (this.#feature !== null && text !== (this.#now?.note ?? "")) this.actions.note(this.#feature, text);
  }
}
