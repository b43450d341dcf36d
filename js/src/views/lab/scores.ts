/**
 * What the explanation scored: each score with its interval, or why it is undefined; what could not be simulated, and why;
 * scores by effect on a button. In: a simulation. Out: `effect` with the score that is asked for.
 */
import { button, h } from "../../core/dom.js";
import { compact, count } from "../../core/format.js";
import type { Said } from "./picture.js";
import type { WireJudged, WireScore, WireSimulation } from "./synced.js";
import { SCORES, interval, scoreName } from "./words.js";

const EFFECTS = ["ablation", "output"] as const;

export class Scores {
  readonly element: HTMLElement;
  readonly #body = h("tbody");
  readonly #failures = h("div", { class: "ng-failures" });
  readonly #buttons: HTMLButtonElement[];
  readonly #effects: HTMLElement;
  readonly #judge: HTMLButtonElement;

  constructor(effect: (which: string) => void, judge: () => void) {
    this.#judge = button("Detection and fuzzing", { class: "ng-button", title: "can one who knows only the explanation tell windows, and tokens, where the feature is on? Said by the simulator, window by window" }, judge);
    const titles = { ablation: "replace the feature by its simulation and compare what the model says: some seconds", output: "write texts with the feature turned up, and with others: some seconds" };
    this.#buttons = EFFECTS.map((which) => button(`${which === "ablation" ? "Ablation" : "Output"} score`, { class: "ng-button", title: titles[which] }, () => effect(which)));
    this.#effects = h("div", { class: "ng-lab-effects" }, this.#judge, ...this.#buttons);
    const head = h("tr", {}, h("th", { scope: "col" }, "score"), h("th", { scope: "col", class: "ng-num" }, "value"), h("th", { scope: "col", class: "ng-num", title: "95% of the values over windows drawn with replacement" }, "95% interval"));
    this.element = h("section", { class: "ng-lab-scores", "aria-label": "scores" }, h("h4", {}, "Scores"), h("table", { class: "ng-list" }, h("thead", {}, head), this.#body), this.#failures, this.#effects);
  }

  show(simulation: Partial<WireSimulation>, said: readonly Said[], live: boolean, attached: boolean): void {
    const scores = [...(simulation.scores ?? []), ...judgedScores(simulation.judged ?? {}), ...(simulation.effects ?? [])];
    const why = simulation.problem ? "not simulated" : simulation.asked === false ? "not simulated yet" : "";
    this.#body.replaceChildren(...(scores.length ? scores.map((score) => this.#row(score)) : [h("tr", {}, h("td", { colspan: 3, class: "ng-quiet" }, why || "no explanation"))]));
    const reasons = new Map<string, number>();
    for (const { why } of said) if (why) reasons.set(why, (reasons.get(why) ?? 0) + 1);
    const failed = [...reasons.values()].reduce((sum, n) => sum + n, 0);
    this.#failures.hidden = failed === 0;
    this.#failures.replaceChildren(
      h("p", { class: "ng-failure" }, `${count(failed, "window")} of ${said.length} could not be simulated, and count nowhere:`),
      h("ul", {}, ...[...reasons].map(([reason, n]) => h("li", {}, n > 1 ? `${reason} (${n} windows)` : reason))),
    );
    this.#effects.hidden = !live || !(simulation.scores ?? []).length;
    this.#judge.hidden = Object.keys(simulation.judged ?? {}).length > 0;
    this.#buttons.forEach((one, k) => {
      one.hidden = !attached || (simulation.effects ?? []).some(({ name }) => name === EFFECTS[k]);
    });
  }

  busy(running: boolean): void {
    for (const one of [this.#judge, ...this.#buttons]) one.disabled = running;
  }

  #row(score: WireScore & { about?: string }): HTMLElement {
    const about = score.about ?? `${SCORES[score.name]?.[1] ?? ""} · ${count(score.windows, score.name === "output" ? "text" : "window")}${score.failures ? `, ${score.failures} failed` : ""}`;
    const name = h("th", { scope: "row", title: about }, scoreName(score.name));
    if (score.value === null) return h("tr", {}, name, h("td", { colspan: 2, class: "ng-undefined" }, `undefined: ${score.reason}`));
    return h("tr", { class: score.name === "correlation" ? "ng-main" : null }, name, h("td", { class: "ng-num" }, compact(score.value)), h("td", { class: "ng-num ng-quiet" }, interval(score)));
  }
}

/** Balanced accuracy of each task; the other scores in the note. */
function judgedScores(judged: Record<string, WireJudged>): (WireScore & { about?: string })[] {
  return Object.entries(judged).map(([task, { why, scores }]) => {
    const [main, ...others] = scores;
    if (!main) return { name: task, value: null, low: null, high: null, windows: 0, failures: 0, reason: why };
    const told = others.map(({ name, value, reason }) => `${name.slice(task.length + 1).replace("_", " ")} ${value === null ? `undefined: ${reason}` : compact(value)}`);
    return { ...main, name: task, about: `${SCORES[task]?.[1] ?? ""} · ${told.join(", ")} · ${count(main.windows, "window")}` };
  });
}
