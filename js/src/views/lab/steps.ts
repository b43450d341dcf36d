/**
 * The steps: what each was, by whom, what it scored and gained. In: the history. Out: `go` with the step that was pressed.
 */
import { button, h } from "../../core/dom.js";
import type { WireStep } from "./synced.js";
import { brief, by, gainOf, interval, scored } from "./words.js";

export class Steps {
  readonly element: HTMLElement;
  readonly #list = h("ol", { class: "ng-lab-history" });
  readonly #none = h("p", { class: "ng-quiet" }, "No step yet: explain, or type.");

  constructor(private readonly go: (step: number) => void) {
    this.element = h("section", { class: "ng-lab-steps", "aria-label": "steps" }, h("h4", {}, "Steps"), this.#none, this.#list);
  }

  show(history: readonly WireStep[], now: number, live: boolean): void {
    this.#none.hidden = history.length > 0;
    this.#none.textContent = live ? "No step yet: explain, or type." : "No step.";
    const list = this.#list;
    const focused = [...list.children].findIndex((row) => row.contains(document.activeElement));
    list.replaceChildren(...history.map((step, k) => this.#row(step, k, k === now, live)));
    if (focused >= 0) list.children[focused]?.querySelector("button")?.focus({ preventScroll: true });
    const here = list.children[now] as HTMLElement | undefined;
    if (!here) return;
    // within the list only: the page stays where it is
    const top = here.offsetTop - list.offsetTop;
    if (top < list.scrollTop || top + here.offsetHeight > list.scrollTop + list.clientHeight) list.scrollTop = top;
  }

  #row(step: WireStep, k: number, here: boolean, live: boolean): HTMLElement {
    const gain = gainOf(step.gain);
    const undefinedScore = step.score === null;
    const told = [
      h("span", { class: "ng-step-what" }, `${step.made} · ${by(step.author)}${step.kept ? " · in the store" : ""}`),
      h("span", { class: undefinedScore ? "ng-step-why" : "ng-step-score", title: step.score ? `correlation, ${interval(step.score)}` : null }, scored(step)),
      ...(gain ? [h("span", { class: "ng-step-gain", title: "gain in correlation over the step before" }, gain)] : []),
      h("span", { class: "ng-step-text", dir: "auto", title: step.text.slice(0, 2000) }, brief(step.text) || "empty"),
    ];
    if (!live) return h("li", { class: here ? "ng-here" : null, "aria-current": here ? "step" : null }, ...told);
    const press = button("", { class: "ng-step", "aria-current": here ? "step" : null }, () => this.go(k));
    press.append(...told);
    return h("li", { class: here ? "ng-here" : null }, press);
  }
}
