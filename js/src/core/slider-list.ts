/**
 * The rows of sliders. In: sliders, what is known of their features, the modes and units. Out: `changed` with new sliders
 * on every move, and calls to measure or sweep. Rows are reused from one state to the next, so a slider under a finger
 * stays where it is.
 */
import { button, focusable, h, setText } from "./dom.js";
import { compact } from "./format.js";
import { type About, SHORT, type Slider, type SliderChoices, UNITS, type Unit, convert, hasStrength, inAllUnits, isFactor, neutral, readStrengths, spanOf } from "./slider.js";
import "./sliders.css";

export interface SliderActions {
  changed: (sliders: Slider[]) => void;
  measure: (features: string[]) => void; // so that all units are known
  sweep?: (slider: number, strengths: number[]) => void; // none: those that are usual
}

const PLACES = [
  ["all", "everywhere"],
  ["prompt", "in the prompt"],
  ["generated", "in what is written"],
  ["from", "from token…"],
] as const;

const digits = (value: number): string => String(Number(value.toPrecision(4)));

class Row {
  readonly element: HTMLElement;
  readonly range = focusable(h("input", { type: "range", class: "ng-range" }));
  readonly #on = focusable(h("input", { type: "checkbox", class: "ng-on", title: "on or off" }));
  readonly #label = h("span", { class: "ng-slider-label" });
  readonly #mode = focusable(h("select", { class: "ng-mode", "aria-label": "mode" }));
  readonly #number = focusable(h("input", { type: "number", class: "ng-number", step: "any" }));
  readonly #unit = focusable(h("select", { class: "ng-unit", "aria-label": "unit" }));
  readonly #places = focusable(h("select", { class: "ng-places", "aria-label": "tokens that are changed" }, ...PLACES.map(([value, name]) => h("option", { value }, name))));
  readonly #from = focusable(h("input", { type: "number", class: "ng-from", min: 0, step: 1, "aria-label": "first token that is changed" }));
  readonly #special = focusable(h("input", { type: "checkbox" }));
  readonly #layers = focusable(h("input", { type: "text", class: "ng-layers", placeholder: "its own", "aria-label": "layers", title: "layers that are changed in place of its own: 3, 4, 5", spellcheck: "false" }));
  readonly #all = h("span", { class: "ng-all-units" });
  readonly #measure: HTMLButtonElement;
  readonly #strengths = focusable(h("input", { type: "text", class: "ng-strengths", placeholder: "strengths", spellcheck: "false", autocomplete: "off" }));
  readonly #sweep: HTMLElement;
  readonly #problem = h("p", { class: "ng-problem", role: "alert", hidden: true });
  readonly #remove: HTMLButtonElement;
  readonly #more = h("div", { class: "ng-slider-more", hidden: true });
  slider: Slider | null = null;
  #about: About | undefined;
  #modes = "";
  readonly #sweeps: boolean; // the view has dose–responses

  constructor(edit: (change: Partial<Slider>) => void, remove: () => void, measure: () => void, sweep: ((strengths: number[]) => void) | null) {
    const more = button("⋯", { class: "ng-icon ng-more", title: "which tokens, which layers", "aria-label": "more settings", "aria-expanded": "false" }, () => {
      this.#more.hidden = !this.#more.hidden;
      more.setAttribute("aria-expanded", String(!this.#more.hidden));
    });
    this.#remove = button("×", { class: "ng-icon", title: "remove this slider" }, remove);
    this.#measure = button("Measure", { class: "ng-button ng-measure", title: "run some texts to learn the feature's largest activation and its deviation" }, measure);
    const strengths = (): number[] | null => {
      const read = readStrengths(this.#strengths.value);
      const wrong = typeof read === "string";
      this.#strengths.setAttribute("aria-invalid", String(wrong));
      this.#problem.hidden = !wrong;
      setText(this.#problem, wrong ? read : "");
      return wrong ? null : read;
    };
    const start = (): void => {
      const values = strengths();
      if (values) sweep?.(values);
    };
    this.#strengths.addEventListener("input", () => {
      if (!this.#problem.hidden) strengths(); // it goes away as soon as it is put right
    });
    this.#strengths.addEventListener("change", strengths);
    this.#strengths.addEventListener("keydown", (event) => {
      if (event.key === "Enter") start();
    });
    const title = "write texts at many strengths of this slider, and find where they break";
    this.#sweep = h("span", { class: "ng-sweeping" }, this.#strengths, button("Dose–response", { class: "ng-button ng-sweep", title }, start));
    this.#sweeps = sweep !== null;
    this.#more.append(
      h("label", { class: "ng-field" }, h("span", { class: "ng-name" }, "tokens"), this.#places, this.#from),
      h("label", { class: "ng-field", title: "begin- and end-of-text tokens are left as they are, unless this is ticked" }, this.#special, h("span", { class: "ng-name" }, "special tokens too")),
      h("label", { class: "ng-field" }, h("span", { class: "ng-name" }, "layers"), this.#layers),
    );
    this.element = h(
      "div",
      { class: "ng-slider", role: "group" },
      h("div", { class: "ng-slider-head" }, this.#on, this.#label, this.#mode, more, this.#remove),
      h("div", { class: "ng-slider-line" }, this.range, this.#number, this.#unit),
      h("div", { class: "ng-slider-foot" }, this.#all, this.#measure, this.#sweep),
      this.#problem,
      this.#more,
    );
    this.#on.addEventListener("change", () => edit({ on: this.#on.checked }));
    this.#mode.addEventListener("change", () => {
      const { slider } = this;
      const mode = this.#mode.value;
      if (!slider) return;
      // what v means is another thing: begin where nothing changes, or with what it meant
      const same = isFactor(mode) === isFactor(slider.mode) && hasStrength(slider.mode);
      edit({ mode, ...(same ? {} : { value: neutral(mode), unit: isFactor(mode) || !this.#about?.units.norm ? "raw" : "norm" }) });
    });
    for (const input of [this.range, this.#number]) {
      input.addEventListener("input", () => edit({ value: input.value === "" ? null : Number(input.value) }));
    }
    this.range.addEventListener("dblclick", () => edit({ value: neutral(this.slider?.mode ?? "") }));
    this.#unit.addEventListener("change", () => {
      const { slider } = this;
      const unit = this.#unit.value as Unit;
      if (slider) edit({ unit, value: slider.value === null ? null : Number(digits(convert(slider.value, slider.unit, unit, this.#about) ?? 0)) });
    });
    const place = (): void => {
      const from = { from: Math.max(0, Math.round(Number(this.#from.value) || 0)), to: null };
      edit({ positions: this.#places.value === "from" ? from : this.#places.value });
    };
    this.#places.addEventListener("change", place);
    this.#from.addEventListener("input", place);
    this.#special.addEventListener("change", () => edit({ skip_special: !this.#special.checked }));
    this.#layers.addEventListener("change", () => {
      const layers = this.#layers.value.split(/[\s,;]+/).filter(Boolean).map(Number);
      edit({ layers: layers.length ? layers : null });
    });
  }

  show(slider: Slider, about: About | undefined, choices: SliderChoices, live: boolean): void {
    // strengths are in a feature's unit: they mean nothing for another one
    if (this.slider && (this.slider.feature !== slider.feature || this.slider.unit !== slider.unit || isFactor(this.slider.mode) !== isFactor(slider.mode))) {
      this.#strengths.value = "";
      this.#problem.hidden = true;
      this.#strengths.setAttribute("aria-invalid", "false");
    }
    this.slider = slider;
    this.#about = about;
    const label = about?.label ?? slider.feature;
    this.element.setAttribute("aria-label", label);
    this.element.classList.toggle("ng-off", !slider.on);
    this.#on.checked = slider.on;
    setText(this.#label, label);
    const fires = about?.fires?.length ? `, most often on at ${about.fires.map((t) => `“${t}”`).join(" ")}` : "";
    this.#label.title = `${about?.what ?? ""}${fires}\n${slider.feature}`;
    this.#on.setAttribute("aria-label", `${label} on`);
    const modes = (about?.modes ?? [slider.mode]).join();
    if (modes !== this.#modes) {
      this.#modes = modes;
      this.#mode.replaceChildren(...modes.split(",").map((mode) => h("option", { value: mode, title: choices.modes?.[mode] ?? null }, mode)));
    }
    this.#mode.value = slider.mode;
    this.#mode.title = choices.modes?.[slider.mode] ?? "";
    const { min, max, step } = spanOf(slider, about);
    const { range } = this;
    Object.assign(range, { min: String(min), max: String(max), step: String(step) });
    range.hidden = this.#number.hidden = !hasStrength(slider.mode);
    range.setAttribute("aria-label", `strength of ${label}`);
    this.#number.setAttribute("aria-label", `strength of ${label}, as a number`);
    const text = slider.value === null ? "" : digits(slider.value);
    range.value = text;
    range.setAttribute("aria-valuetext", `${slider.value === null ? "no number" : compact(slider.value)} ${isFactor(slider.mode) ? "times" : SHORT[slider.unit]}`);
    // what a person is typing stays as typed
    if (this.#number.value === "" || Number(this.#number.value) !== Number(text)) {
      if (slider.value !== null) this.#number.value = text;
    }
    this.#number.setAttribute("aria-invalid", String(slider.value === null));
    this.#unit.hidden = isFactor(slider.mode) || !hasStrength(slider.mode);
    this.#unit.replaceChildren(
      ...UNITS.filter((unit) => !about || unit in about.units).map((unit) => {
        const known = !about || Boolean(about.units[unit]);
        const why = known ? (choices.units?.[unit] ?? null) : this.#why(unit);
        return h("option", { value: unit, disabled: !known, title: why }, known ? SHORT[unit] : `${SHORT[unit]} (not known)`);
      }),
    );
    this.#unit.value = slider.unit;
    this.#all.replaceChildren(
      ...inAllUnits(slider, about).map(({ unit, text: words, known }) =>
        h("span", { class: known ? "" : "ng-unknown", title: known ? `${choices.units?.[unit] ?? ""}${about?.source ? ` (${about.source})` : ""}` : this.#why(unit) }, words),
      ),
    );
    const unknown = UNITS.some((unit) => about && unit in about.units && about.units[unit] === null);
    this.#measure.hidden = !live || !unknown;
    this.#remove.hidden = !live;
    this.#remove.setAttribute("aria-label", `remove ${label}`);
    this.#sweep.hidden = !this.#sweeps || !live || !hasStrength(slider.mode) || !about || !("norm" in about.units);
    const unit = isFactor(slider.mode) ? "times" : SHORT[slider.unit];
    this.#strengths.setAttribute("aria-label", `strengths of the dose–response of ${label}, ${unit}`);
    this.#strengths.title = `strengths to write texts at (${unit}), such as 0.5, 1, 2, 4; empty: eight, as far as the slider usually goes`;
    const { positions } = slider;
    const named = typeof positions === "string";
    const from = typeof positions === "object" && !Array.isArray(positions);
    this.#places.value = named ? positions : from ? "from" : "";
    this.#from.hidden = !from;
    if (from) this.#from.value = String(positions.from);
    this.#special.checked = !slider.skip_special;
    if (document.activeElement !== this.#layers) this.#layers.value = slider.layers?.join(", ") ?? "";
    for (const field of this.element.querySelectorAll<HTMLInputElement | HTMLSelectElement>("input, select")) field.disabled = !live;
  }

  #why(unit: Unit): string {
    const what = unit === "norm" ? "‖h‖ where it writes" : unit === "max" ? "its largest activation" : "the deviation of its activation";
    return `${what} is not known yet, or zero: press Measure`;
  }
}

export class SliderList {
  readonly element = h("div", { class: "ng-sliders" });
  #rows: Row[] = [];
  #sliders: Slider[] = [];
  #known: Record<string, About> = {};
  #choices: SliderChoices = {};
  #live = false;

  constructor(private readonly actions: SliderActions) {}

  get sliders(): Slider[] {
    return this.#sliders;
  }

  show(sliders: Slider[], known: Record<string, About>, choices: SliderChoices, live: boolean): void {
    this.#sliders = sliders;
    this.#known = known;
    this.#choices = choices;
    this.#live = live;
    while (this.#rows.length > sliders.length) this.#rows.pop()?.element.remove();
    sliders.forEach((slider, i) => {
      const row = (this.#rows[i] ??= this.#make(i));
      row.show(slider, known[slider.feature], choices, live);
    });
    this.element.hidden = sliders.length === 0;
  }

  /** Adds or changes sliders as a person does. */
  set(sliders: Slider[], known: Record<string, About> = {}): void {
    this.show(sliders, { ...this.#known, ...known }, this.#choices, this.#live);
    this.actions.changed(sliders);
  }

  #make(i: number): Row {
    const { measure, sweep } = this.actions;
    const row = new Row(
      (change) => this.set(this.#sliders.map((slider, k) => (k === i ? { ...slider, ...change } : slider))),
      () => this.set(this.#sliders.filter((_slider, k) => k !== i)),
      () => measure(this.#sliders[i] ? [this.#sliders[i].feature] : []),
      sweep ? (strengths) => sweep(i, strengths) : null,
    );
    this.element.append(row.element);
    return row;
  }
}
