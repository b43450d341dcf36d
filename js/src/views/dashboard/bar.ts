/**
 * Which feature this is: previous, next, a field to go to one, what is unusual about it, and the best explanation. In: a
 * page. Out: `go` with another index.
 */
import { button, focusable, h, setText } from "../../core/dom.js";
import type { WirePage } from "./synced.js";

const FLAGS: Record<string, string> = {
  dead: "on at no token of the corpus",
  silent: "never above zero in the corpus",
  ultralow: "on at fewer than one token in a million: such features are seldom understandable (Towards Monosemanticity)",
  "always on": "on at every token",
  "not finite": "NaN or infinite at some tokens, which count nowhere else",
};

export class Bar {
  readonly element: HTMLElement;
  readonly #field = focusable(h("input", { type: "number", class: "ng-number", min: 0, step: 1, "aria-label": "feature" }));
  readonly #of = h("span", { class: "ng-quiet" });
  readonly #previous: HTMLButtonElement;
  readonly #next: HTMLButtonElement;
  readonly #flags = h("span", { class: "ng-flags" });
  readonly #about = h("span", { class: "ng-about", dir: "auto" });
  #page: WirePage | null = null;

  constructor(go: (feature: number) => void) {
    const by = (step: number) => (): void => {
      if (this.#page) go((this.#page.feature + step + this.#page.n_features) % this.#page.n_features);
    };
    this.#previous = button("‹", { class: "ng-icon", "aria-label": "previous feature", title: "previous feature" }, by(-1));
    this.#next = button("›", { class: "ng-icon", "aria-label": "next feature", title: "next feature" }, by(1));
    this.#field.addEventListener("change", () => {
      const wanted = Number(this.#field.value);
      const fine = Number.isInteger(wanted) && this.#field.value !== "";
      this.#field.setAttribute("aria-invalid", String(!fine));
      if (fine) go(wanted);
    });
    this.element = h("div", { class: "ng-dash-bar" }, h("span", { class: "ng-steps" }, this.#previous, this.#field, this.#next, this.#of), this.#flags, this.#about);
  }

  show(page: WirePage, turns: boolean): void {
    this.#page = page;
    this.#field.value = String(page.feature);
    this.#field.max = String(page.n_features - 1);
    this.#field.readOnly = !turns;
    this.#field.removeAttribute("aria-invalid");
    this.#previous.hidden = this.#next.hidden = !turns;
    setText(this.#of, `of ${page.n_features.toLocaleString("en-US")}`);
    this.#flags.replaceChildren(...page.flags.map((flag) => h("span", { class: "ng-flag", title: FLAGS[flag] ?? null }, flag)));
    const best = page.said.explanations[0];
    setText(this.#about, best ? best.text : "");
    this.#about.title = best ? `explained by ${best.author}` : "";
  }
}
