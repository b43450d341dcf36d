/**
 * Adding features: by name, by what is strongest on the prompt now, by what a store knows, or as a direction from two
 * lists of texts. In: what there is to choose from. Out: `search` and `contrast` with the person's words, whose answers
 * come back as `answer`; `add` with a feature that was found.
 */
import { button, focusable, h, setText } from "./dom.js";
import type { Reply } from "./protocol.js";
import type { Found, SliderChoices } from "./slider.js";

export interface FinderActions {
  search: (request: { how: string; query: string; position?: number }) => void;
  contrast: (request: { positive: string; negative: string; site: string; method: string }) => void;
  add: (found: Found[]) => void;
}

export class FeatureFinder {
  readonly element: HTMLElement;
  readonly #how = focusable(h("select", { class: "ng-how", "aria-label": "how to look for features" }));
  readonly #query = focusable(h("input", { type: "search", class: "ng-query", "aria-label": "what to look for", spellcheck: "false", autocomplete: "off" }));
  readonly #place = focusable(h("select", { class: "ng-place", "aria-label": "where to look" }));
  readonly #go: HTMLButtonElement;
  readonly #found = h("div", { class: "ng-chips", role: "group", "aria-label": "features found" });
  readonly #said = h("p", { class: "ng-said", role: "status" });
  readonly #positive = focusable(h("textarea", { class: "ng-side-text", rows: 2, dir: "auto", placeholder: "one text a line: with it", "aria-label": "texts that have it" }));
  readonly #negative = focusable(h("textarea", { class: "ng-side-text", rows: 2, dir: "auto", placeholder: "one text a line: without it", "aria-label": "texts that lack it" }));
  readonly #layer = focusable(h("select", { "aria-label": "layer" }));
  readonly #method = focusable(
    h(
      "select",
      { "aria-label": "method" },
      h("option", { value: "mean", title: "mean of the one side minus mean of the other" }, "difference of means"),
      h("option", { value: "pca", title: "first principal component of the pairs' differences, as in representation engineering" }, "first component of pairs"),
      h("option", { value: "actadd", title: "activation addition: one pair, a vector for each position" }, "activation addition"),
    ),
  );
  readonly #line: HTMLElement;
  readonly #pair: HTMLElement;
  #choices = "";

  constructor(private readonly actions: FinderActions) {
    this.#go = button("Find", { class: "ng-button" }, () => this.#search());
    this.#line = h("div", { class: "ng-find-line" }, this.#query, this.#place, this.#go);
    this.#pair = h(
      "div",
      { class: "ng-contrast", hidden: true },
      this.#positive,
      this.#negative,
      h(
        "div",
        { class: "ng-find-line" },
        h("label", { class: "ng-field" }, h("span", { class: "ng-name" }, "after layer"), this.#layer),
        this.#method,
        button("Make direction", { class: "ng-button" }, () => {
          const { value: positive } = this.#positive;
          actions.contrast({ positive, negative: this.#negative.value, site: `resid_post.${this.#layer.value}`, method: this.#method.value });
          setText(this.#said, "comparing…");
        }),
      ),
    );
    this.element = h(
      "details",
      { class: "ng-finder" },
      focusable(h("summary", {}, "Add a feature")),
      h("div", { class: "ng-find-line" }, this.#how),
      this.#line,
      this.#pair,
      this.#said,
      this.#found,
    );
    this.#how.addEventListener("change", () => this.#fit());
    this.#query.addEventListener("keydown", (event) => {
      if (event.key === "Enter") this.#search();
    });
  }

  offer(choices: SliderChoices): void {
    const text = JSON.stringify([choices.bases, choices.layers, choices.store]);
    if (text === this.#choices) return;
    this.#choices = text;
    const ways = [
      ["id", "by name"],
      ["now", "strongest on the prompt"],
      ...(choices.store ? [["token", "on at a token, in the store"], ["text", "on in a text, in the store"]] : []),
      ["contrast", "from two lists of texts"],
    ];
    this.#how.replaceChildren(...ways.map(([value, name]) => h("option", { value }, name ?? "")));
    const layers = Array.from({ length: choices.layers ?? 0 }, (_, i) => String(i));
    const places = [...(choices.bases ?? []).map(({ name }) => name), ...layers.map((layer) => `neurons.${layer}`)];
    this.#place.replaceChildren(...places.map((name) => h("option", { value: name }, name)));
    this.#layer.replaceChildren(...layers.map((layer) => h("option", { value: layer }, layer)));
    this.#layer.value = String(Math.floor(layers.length / 2));
    this.#fit();
  }

  /** The features strongest at one token of the prompt. */
  at(position: number, piece: string): void {
    (this.element as HTMLDetailsElement).open = true;
    this.#how.value = "now";
    this.#fit();
    this.actions.search({ how: "now", query: this.#place.value, position });
    setText(this.#said, `looking at “${piece}”…`);
  }

  answer(reply: Reply): void {
    const { error, found = [], separation } = reply as Reply & { found?: Found[]; separation?: number | null };
    this.#said.classList.toggle("ng-failure", Boolean(error));
    if (error) {
      setText(this.#said, [error.message, error.hint].filter(Boolean).join(" "));
      this.#found.replaceChildren();
      return;
    }
    if (separation !== undefined) {
      const apart = separation === null ? "" : ` It sets ${Math.round(100 * separation)}% of the pairs of texts apart (50% is chance).`;
      setText(this.#said, `Added at strength 1.${apart}`);
      this.actions.add(found);
      return;
    }
    if (found.length === 1 && found[0]?.why === "") {
      setText(this.#said, `Added ${found[0].label}.`);
      this.actions.add(found);
      return;
    }
    setText(this.#said, found.length ? "" : "Nothing found.");
    this.#found.replaceChildren(
      ...found.map((one) => {
        const chip = button(`+ ${one.label} `, { class: "ng-chip", title: one.what }, () => this.actions.add([one]));
        const fires = one.fires?.length ? `  on at ${one.fires.map((t) => `“${t}”`).join(" ")}` : "";
        chip.append(h("span", {}, one.why + fires));
        return chip;
      }),
    );
  }

  #search(): void {
    const how = this.#how.value;
    const query = how === "now" ? this.#place.value : this.#query.value;
    if (query === "") return;
    this.actions.search({ how, query });
    setText(this.#said, "looking…");
  }

  #fit(): void {
    const how = this.#how.value;
    this.#pair.hidden = how !== "contrast";
    this.#line.hidden = how === "contrast";
    this.#query.hidden = how === "now";
    this.#place.hidden = how !== "now";
    const base = (this.#place.options[0]?.value ?? "").replace(/\.\d+$/, (layer) => layer);
    this.#query.placeholder = { id: `${base}/123, neurons.0/77, head 0.3`, token: " the", text: "some words" }[how] ?? "";
    this.#go.textContent = how === "id" ? "Add" : "Find";
    setText(this.#said, how === "now" ? "Or click a token of the prompt." : "");
    this.#found.replaceChildren();
  }
}
