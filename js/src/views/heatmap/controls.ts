/**
 * The live editor: text, site, layer, features. In: the draft to show and the choices the model offers. Out: `changed`
 * with a new draft on every edit that can be run; what cannot (features that are not numbers, or beyond the site) is
 * explained beside the field and not sent (text goes on with the last good features). Nothing is sent while an input method is composing.
 */
import { button, focusable, h } from "../../core/dom.js";
import { TextBox } from "../../core/text-box.js";
import type { Choices, SiteChoice } from "./synced.js";
import type { Draft } from "./ui-state.js";

/** Feature numbers from "77, 12 400"; a string says what is wrong. */
export function parseFeatures(text: string, site: SiteChoice | undefined): number[] | string {
  const features: number[] = [];
  for (const word of text.split(/[\s,;]+/).filter(Boolean)) {
    if (!/^\d+$/.test(word)) return `“${word}” is not a feature number`;
    const feature = Number(word);
    if (site && feature >= site.width) return `${site.name} has ${site.width} features: 0 to ${site.width - 1}`;
    if (!features.includes(feature)) features.push(feature);
  }
  return features;
}

export class Controls {
  readonly element: HTMLElement;
  #choices: SiteChoice[] = [];
  #draft: Draft = { text: "", site: "", layer: 0, features: [], locked: [], compare: "", across: false };
  readonly #text: TextBox;
  readonly #site: HTMLSelectElement;
  readonly #layer: HTMLInputElement;
  readonly #range: HTMLInputElement;
  readonly #layerField: HTMLElement;
  readonly #features: HTMLInputElement;
  readonly #add: HTMLSelectElement;
  #quantities: { key: string; label: string }[] = [];
  readonly #problem: HTMLElement;
  readonly #across: HTMLButtonElement;
  readonly #compare: HTMLButtonElement;
  readonly #other: TextBox;
  readonly #otherField: HTMLElement;

  constructor(
    name: string,
    private readonly changed: (draft: Draft) => void,
  ) {
    this.#text = new TextBox("text", "Type some text", (text) => this.#edit({ text }));
    this.#site = focusable(h("select", { class: "ng-site", "aria-label": "site" }));
    this.#layer = focusable(h("input", { class: "ng-layer", type: "number", min: 0, step: 1, "aria-label": "layer" }));
    this.#range = focusable(h("input", { class: "ng-layer-range", type: "range", min: 0, step: 1, "aria-label": "layer" }));
    this.#layerField = h("div", { class: "ng-field ng-field-layer" }, h("span", { class: "ng-name", "aria-hidden": "true" }, "layer"), this.#layer, this.#range);
    const problem = `${name}-problem`;
    this.#features = focusable(
      h("input", { class: "ng-features", type: "text", inputmode: "numeric", spellcheck: "false", autocomplete: "off", placeholder: "strongest", "aria-label": "features", "aria-describedby": problem, title: "feature numbers, separated by commas; empty: the strongest" }),
    );
    this.#add = focusable(h("select", { class: "ng-add", "aria-label": "add a row", title: "a row of something else that is known of every token" }));
    this.#across = button("every layer", { class: "ng-toggle ng-across", title: "the first feature in every layer, a row each" }, () => {
      this.#edit({ across: !this.#draft.across });
    });
    this.#compare = button("compare", { class: "ng-toggle ng-compare", title: "draw the rows over a second text too, with the difference" }, () => {
      // begins with a copy: what is changed in it is what the rows show
      this.#edit({ compare: this.#draft.compare ? "" : this.#draft.text });
      if (this.#draft.compare) this.#other.focus();
    });
    this.#other = new TextBox("second text", "Type another text", (compare) => this.#edit({ compare }));
    this.#otherField = h("div", { class: "ng-other", hidden: true });
    this.#problem = h("p", { class: "ng-problem", id: problem, role: "status", hidden: true });
    this.element = h(
      "div",
      { class: "ng-editor" },
      this.#text.element,
      this.#otherField,
      h(
        "div",
        { class: "ng-controls" },
        h("div", { class: "ng-field" }, h("span", { class: "ng-name", "aria-hidden": "true" }, "site"), this.#site),
        this.#layerField,
        h("div", { class: "ng-field ng-field-features" }, h("span", { class: "ng-name", "aria-hidden": "true" }, "features"), this.#features),
        this.#across,
        this.#compare,
        this.#add,
      ),
      this.#problem,
    );
    this.#listen();
  }

  get composing(): boolean {
    return this.#text.composing || this.#other.composing;
  }

  get draft(): Draft {
    return this.#draft;
  }

  /** Shows a draft made elsewhere, without asking for a run. */
  show(draft: Draft): void {
    this.#draft = draft;
    this.#text.value = draft.text;
    this.#other.value = draft.compare;
    this.#site.value = draft.site;
    // what the person wrote stays as written where it means the same
    if (String(parseFeatures(this.#features.value, undefined)) !== String(draft.features)) {
      this.#features.value = draft.features.join(", ");
    }
    this.#complain(null);
    this.#fit();
  }

  offer(choices: Choices): void {
    this.#choices = choices.sites ?? [];
    this.#quantities = choices.quantities ?? [];
    this.#site.replaceChildren(
      ...this.#choices.map(({ name, what }) => h("option", { value: name, title: what }, name)),
    );
    this.#site.value = this.#draft.site;
    this.#fit();
  }

  get #chosen(): SiteChoice | undefined {
    return this.#choices.find(({ name }) => name === this.#draft.site);
  }

  #listen(): void {
    this.#site.addEventListener("change", () => {
      const before = this.#chosen;
      const after = this.#choices.find(({ name }) => name === this.#site.value);
      const layer = Math.max(0, Math.min(this.#draft.layer, (after?.layers ?? 1) - 1));
      const draft: Partial<Draft> = { site: this.#site.value, layer };
      if ((after?.across ?? after?.layers ?? 0) <= 1) draft.across = false;
      if (before?.width !== after?.width) {
        draft.features = [];
        this.#features.value = "";
      }
      this.#edit(draft);
    });
    for (const input of [this.#layer, this.#range]) {
      input.addEventListener("input", () => {
        const layer = Number(input.value);
        if (input.value === "" || !Number.isInteger(layer) || layer < 0 || layer >= (this.#chosen?.layers ?? Infinity)) {
          this.#complain(`layer: a whole number, 0 to ${(this.#chosen?.layers ?? 1) - 1}`, input);
          return;
        }
        this.#edit({ layer });
      });
    }
    this.#features.addEventListener("input", () => {
      this.#edit({});
    });
    this.#add.addEventListener("change", () => {
      const key = this.#add.value;
      if (key) this.#edit({ locked: [...this.#draft.locked, key] });
    });
  }

  #edit(change: Partial<Draft>): void {
    this.#draft = { ...this.#draft, ...change };
    this.#fit();
    const features = parseFeatures(this.#features.value, this.#chosen);
    this.#complain(typeof features === "string" ? features : null);
    // a slip in the features field is explained beside it; the text goes on with the features it had
    if (typeof features !== "string") this.#draft.features = features;
    else if (!("text" in change)) return;
    this.changed(this.#draft);
  }

  #complain(problem: string | null, field: HTMLElement = this.#features): void {
    this.#problem.hidden = problem === null;
    this.#problem.textContent = problem ?? "";
    for (const input of [this.#features, this.#layer, this.#range]) {
      input.setAttribute("aria-invalid", String(problem !== null && input === field));
    }
  }

  /** Layer fields to the site. */
  #fit(): void {
    const missing = this.#quantities.filter(({ key }) => !this.#draft.locked.includes(key));
    this.#add.hidden = missing.length === 0;
    this.#add.replaceChildren(h("option", { value: "" }, "add a row…"), ...missing.map(({ key, label }) => h("option", { value: key }, label)));
    const layers = this.#chosen?.layers ?? 0;
    this.#across.hidden = (this.#chosen?.across ?? layers) <= 1;
    this.#across.setAttribute("aria-pressed", String(this.#draft.across));
    this.#compare.hidden = this.#draft.text === "" && this.#draft.compare === "";
    this.#compare.setAttribute("aria-pressed", String(this.#draft.compare !== ""));
    const alone = this.#draft.compare === "" && !this.#otherField.contains(document.activeElement);
    if (alone !== this.#otherField.hidden || (!alone && !this.#otherField.childElementCount)) {
      this.#otherField.hidden = alone;
      this.#otherField.replaceChildren(...(alone ? [] : [this.#other.element]));
    }
    this.#layerField.hidden = layers <= 1;
    this.#site.title = this.#chosen?.what ?? "";
    for (const input of [this.#layer, this.#range]) {
      input.max = String(Math.max(0, layers - 1));
      const value = String(this.#draft.layer);
      if (input.value !== value) input.value = value;
    }
  }
}
