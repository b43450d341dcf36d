/**
 * Which feature of how many: previous, next, round the ends, and a field to go to one. In: index and number. Out: `go` with
 * another index.
 */
import { button, focusable, h, setText } from "./dom.js";

export class FeatureSteps {
  readonly element: HTMLElement;
  readonly #field = focusable(h("input", { type: "number", class: "ng-number", min: 0, step: 1, "aria-label": "feature" }));
  readonly #of = h("span", { class: "ng-quiet" });
  readonly #previous: HTMLButtonElement;
  readonly #next: HTMLButtonElement;
  #now: [feature: number, of: number] = [0, 1];

  constructor(go: (feature: number) => void) {
    const by = (step: number) => (): void => go((this.#now[0] + step + this.#now[1]) % this.#now[1]);
    this.#previous = button("‹", { class: "ng-icon", "aria-label": "previous feature", title: "previous feature" }, by(-1));
    this.#next = button("›", { class: "ng-icon", "aria-label": "next feature", title: "next feature" }, by(1));
    this.#field.addEventListener("change", () => {
      const wanted = Number(this.#field.value);
      const fine = Number.isInteger(wanted) && this.#field.value !== "";
      this.#field.setAttribute("aria-invalid", String(!fine));
      if (fine) go(wanted);
    });
    this.element = h("span", { class: "ng-steps" }, this.#previous, this.#field, this.#next, this.#of);
  }

  show(feature: number, of: number, turns: boolean): void {
    this.#now = [feature, of];
    this.#field.value = String(feature);
    this.#field.max = String(of - 1);
    this.#field.readOnly = !turns;
    this.#field.removeAttribute("aria-invalid");
    this.#previous.hidden = this.#next.hidden = !turns;
    setText(this.#of, `of ${of.toLocaleString("en-US")}`);
  }
}
