/**
 * Every explanation of the feature beside the others, scored by the same simulator on the same windows. In: the table. Out:
 * `take` with the text of one, `score` where some were not scored.
 */
import { button, h, setText } from "../../core/dom.js";
import { compact } from "../../core/format.js";
import type { Traits, WireRow } from "./synced.js";
import { brief, by, interval } from "./words.js";

export class Comparison {
  readonly element: HTMLElement;
  readonly #body = h("tbody");
  readonly #note = h("p", { class: "ng-quiet" });
  readonly #score: HTMLButtonElement;

  constructor(
    private readonly take: (text: string) => void,
    score: () => void,
  ) {
    this.#score = button("Score all", { class: "ng-button", title: "ask the simulator about every explanation" }, score);
    const column = (name: string, title = "", numeric = true): HTMLElement => h("th", { scope: "col", class: numeric ? "ng-num" : null, title: title || null }, name);
    const head = h("tr", {}, column("explanation", "", false), column("author", "", false), column("correlation", "Pearson’s r over all test tokens"), column("95% interval"), column("random only", "over the random windows alone"), column("", "", false));
    this.element = h("section", { class: "ng-lab-table", "aria-label": "comparison" }, h("div", { class: "ng-part-head" }, h("h4", {}, "All explanations"), this.#note, this.#score), h("table", { class: "ng-list" }, h("thead", {}, head), this.#body));
  }

  show({ rows = [], simulator = "", left_out = 0 }: Traits["table"], live: boolean): void {
    this.element.hidden = rows.length === 0;
    const left = left_out ? ` ${left_out} more in the store.` : "";
    setText(this.#note, `Simulated by ${simulator}, on the same held-out windows.${left}`);
    this.#score.hidden = !live || rows.every(({ why }) => why !== "not scored yet");
    this.#body.replaceChildren(...rows.map((row) => this.#row(row, live)));
  }

  busy(running: boolean): void {
    this.#score.disabled = running;
  }

  #row(row: WireRow, live: boolean): HTMLElement {
    const { score, random } = row;
    const text = h("td", { class: "ng-lab-text", dir: "auto", title: row.text.slice(0, 2000) }, brief(row.text));
    const author = h("td", {}, `${by(row.author)}${row.kept ? "" : " (not accepted)"}`);
    const numbers = score?.value == null ? [h("td", { colspan: 3, class: "ng-undefined" }, row.why)] : [h("td", { class: "ng-num ng-main", "data-name": "correlation" }, compact(score.value)), h("td", { class: "ng-num ng-quiet" }, interval(score)), h("td", { class: "ng-num", "data-name": "random only", title: random?.value == null ? (random?.reason ?? null) : interval(random) }, random?.value == null ? "undefined" : compact(random.value))];
    const use = row.now ? h("span", { class: "ng-quiet" }, "shown") : live ? button("Use", { class: "ng-button", "aria-label": `use ${brief(row.text)}` }, () => this.take(row.text)) : "";
    return h("tr", { class: row.now ? "ng-here" : null }, text, author, ...numbers, h("td", { class: "ng-num" }, use));
  }
}
