/**
 * How the picture is shown: colour scale, one text or one for each row, line breaks, and a field to find text. In: a
 * picture and the present choices. Out: an element that offers what makes a difference to this picture, and calls.
 */
import { button, focusable, h } from "../../core/dom.js";
import type { Picture } from "../../core/picture.js";
import type { Traits } from "./synced.js";

export type Arrange = "rows" | "one";

export interface OptionActions {
  scale: (scale: Traits["scale"]) => void;
  arrange: (arrange: Arrange) => void;
  wrap: (wrap: boolean) => void;
  find: (query: string) => void;
  step: (by: number) => void; // to the next place, or back
}

export interface Chosen {
  scale: Traits["scale"];
  arrange: Arrange;
  wrap: boolean;
}

const SCALES: readonly [Traits["scale"], string, string][] = [
  ["row", "each row its own", "each row from zero to its largest value"],
  ["shared", "one for all rows", "one range for all rows"],
  ["robust", "98th percentile", "each row up to the 98th percentile of its values that are not zero; what lies beyond is marked in the corner"],
];
const MANY = 20_000; // tokens in all rows that are drawn as text one by one
const SHORT = 40; // tokens; less can be read at a glance

/** One text for all rows, where nothing else was chosen? */
export function arranged(wish: Traits["arrange"], picture: Picture | null): Arrange {
  if (wish !== "auto") return wish;
  const rows = picture?.rows ?? [];
  return rows.length > 1 && rows.reduce((sum, { values }) => sum + values.length, 0) > MANY ? "one" : "rows";
}

export class Options {
  readonly element: HTMLElement;
  readonly #scale: HTMLSelectElement;
  readonly #arrange: HTMLButtonElement;
  readonly #wrap: HTMLButtonElement;
  readonly #find: HTMLInputElement;
  readonly #count = h("span", { class: "ng-quiet ng-count", role: "status" });
  readonly #steps: HTMLElement;
  readonly #scaleField: HTMLElement;
  readonly #findField: HTMLElement;

  constructor(actions: OptionActions) {
    this.#scale = focusable(
      h("select", { class: "ng-scale", "aria-label": "colour scale" }, ...SCALES.map(([value, name, title]) => h("option", { value, title }, name))),
    );
    this.#scale.addEventListener("change", () => {
      actions.scale(this.#scale.value as Traits["scale"]);
    });
    this.#arrange = button("one text", { class: "ng-toggle ng-arrange", title: "draw the text once, coloured by the row that is chosen" }, () => {
      actions.arrange(this.#arrange.getAttribute("aria-pressed") === "true" ? "rows" : "one");
    });
    this.#wrap = button("line breaks", { class: "ng-toggle ng-wrap", title: "break lines where the text does; otherwise breaks are marks only" }, () => {
      actions.wrap(this.#wrap.getAttribute("aria-pressed") !== "true");
    });
    this.#find = focusable(h("input", { class: "ng-find", type: "search", placeholder: "find in the text", "aria-label": "find in the text", spellcheck: "false", autocomplete: "off" }));
    this.#find.addEventListener("input", () => {
      actions.find(this.#find.value);
    });
    this.#find.addEventListener("keydown", (event) => {
      if (event.key === "Enter") {
        event.preventDefault();
        actions.step(event.shiftKey ? -1 : 1);
      } else if (event.key === "Escape" && this.#find.value) {
        event.stopPropagation();
        this.#find.value = "";
        actions.find("");
      }
    });
    this.#steps = h(
      "span",
      { class: "ng-steps", hidden: true },
      button("↑", { class: "ng-icon", "aria-label": "previous place", title: "previous place (Shift+Enter)" }, () => actions.step(-1)),
      button("↓", { class: "ng-icon", "aria-label": "next place", title: "next place (Enter)" }, () => actions.step(1)),
    );
    this.#scaleField = h("label", { class: "ng-field" }, h("span", { class: "ng-name" }, "colours"), this.#scale);
    this.#findField = h("div", { class: "ng-field ng-field-find" }, this.#find, this.#steps, this.#count);
    this.element = h("div", { class: "ng-options", hidden: true }, this.#scaleField, this.#arrange, this.#wrap, this.#findField);
  }

  show(picture: Picture | null, { scale, arrange, wrap }: Chosen): void {
    this.#scale.value = scale;
    this.#arrange.setAttribute("aria-pressed", String(arrange === "one"));
    this.#wrap.setAttribute("aria-pressed", String(wrap));
    const rows = picture?.rows ?? [];
    const longest = Math.max(0, ...rows.map(({ values }) => values.length));
    this.#scaleField.hidden = rows.length < 2 && longest <= SHORT;
    this.#arrange.hidden = rows.length < 2;
    this.#wrap.hidden = !picture?.seqs.some(({ pieces }) => pieces.some((piece) => piece.includes("\n")));
    this.#findField.hidden = longest <= SHORT;
    const parts = [this.#scaleField, this.#arrange, this.#wrap, this.#findField];
    this.element.hidden = rows.length === 0 || parts.every((part) => part.hidden);
  }

  /** "3 of 17", or that there is nothing. */
  found(at: number, places: number): void {
    const query = this.#find.value;
    this.#count.textContent = query === "" ? "" : places === 0 ? "not found" : `${(at + 1).toLocaleString("en-US")} of ${places.toLocaleString("en-US")}`;
    this.#steps.hidden = places === 0;
  }
}
