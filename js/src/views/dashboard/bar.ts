/**
 * Which feature this is, what is unusual about it, and the best explanation. In: a
 * page. Out: `go` with another index.
 */
import { h, setText } from "../../core/dom.js";
import { FeatureSteps } from "../../core/feature-steps.js";
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
  readonly #steps: FeatureSteps;
  readonly #flags = h("span", { class: "ng-flags" });
  readonly #about = h("span", { class: "ng-about", dir: "auto" });

  constructor(go: (feature: number) => void) {
    this.#steps = new FeatureSteps(go);
    this.element = h("div", { class: "ng-dash-bar" }, this.#steps.element, this.#flags, this.#about);
  }

  show(page: WirePage, turns: boolean): void {
    this.#steps.show(page.feature, page.n_features, turns);
    this.#flags.replaceChildren(...page.flags.map((flag) => h("span", { class: "ng-flag", title: FLAGS[flag] ?? null }, flag)));
    const best = page.said.explanations[0];
    setText(this.#about, best ? best.text : "");
    this.#about.title = best ? `explained by ${best.author}` : "";
  }
}
