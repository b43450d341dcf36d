/**
 * The rule box: a regular expression, or a rule of the person's own by name, and how well it predicts the feature. In:
 * answers that grow while the corpus is read. Out: `ask` with the rule, `stop`; the histogram is told by the view.
 */
import { button, focusable, h, setText } from "../../core/dom.js";
import { compact } from "../../core/format.js";
import type { Reply } from "../../core/protocol.js";
import { shareOf } from "./numbers.js";
import type { WireFit } from "./synced.js";

export interface RuleActions {
  ask: (rule: string) => void;
  stop: () => void;
}

export interface RuleAnswer {
  fit: WireFit;
  exact: boolean;
  stacked: { linear: [number[], number[]]; log: [number[], number[]] } | null;
  tokens: number;
  total: number;
}

export class RuleBox {
  readonly element: HTMLElement;
  readonly #field = focusable(h("input", { type: "search", class: "ng-query ng-rule", "aria-label": "rule: a regular expression", placeholder: "\\p{Hebrew}   or   [ACGT]{6,}", spellcheck: "false", autocomplete: "off", autocapitalize: "off" }));
  readonly #own = focusable(h("select", { "aria-label": "rules of your own" }));
  readonly #stop: HTMLButtonElement;
  readonly #result = h("dl", { class: "ng-fit" });
  readonly #said = h("p", { class: "ng-said", role: "status" });

  constructor(actions: RuleActions) {
    const ask = (): void => actions.ask(this.#field.value);
    this.#field.addEventListener("keydown", (event) => {
      if (event.key === "Enter") ask();
    });
    this.#field.addEventListener("search", () => {
      if (this.#field.value === "") ask(); // its little cross
    });
    this.#own.addEventListener("change", () => {
      if (this.#own.value === "") return;
      this.#field.value = this.#own.value;
      ask();
    });
    this.#stop = button("Stop", { class: "ng-button", hidden: true, title: "what was read stays" }, actions.stop);
    this.element = h(
      "section",
      { class: "ng-dash-rule", "aria-label": "a rule for the feature" },
      h("div", { class: "ng-part-head" }, h("h4", { title: "what you think the feature stands for: of each token the rule says whether it holds there" }, "A rule")),
      h("div", { class: "ng-find-line" }, this.#field, this.#own, button("Check", { class: "ng-button" }, ask), this.#stop),
      this.#result,
      this.#said,
    );
  }

  offer(names: readonly string[], rule: string): void {
    this.#own.hidden = !names.length;
    this.#own.replaceChildren(h("option", { value: "" }, "your rules…"), ...names.map((name) => h("option", { value: name }, name)));
    if (document.activeElement !== this.#field) this.#field.value = rule;
  }

  clear(): void {
    this.#result.replaceChildren();
    setText(this.#said, "");
    this.#stop.hidden = true;
  }

  /** An answer, perhaps not the last. */
  show(reply: Reply): RuleAnswer | null {
    this.#stop.hidden = reply.done;
    this.#said.classList.toggle("ng-failure", Boolean(reply.error));
    if (reply.error) {
      this.#result.replaceChildren();
      setText(this.#said, [reply.error.message, reply.error.hint].filter(Boolean).join(" "));
      return null;
    }
    if (reply.cancelled) {
      setText(this.#said, `${this.#said.textContent} · stopped`);
      return null;
    }
    if (reply.superseded || !reply.fit) return null;
    const answer = reply as unknown as RuleAnswer & Reply;
    const { fit, exact, tokens, total } = answer;
    const fact = (name: string, value: string, title: string): Node[] => [h("dt", { title }, name), h("dd", {}, value)];
    this.#result.replaceChildren(
      ...fact("specificity", shareOf(fit.specificity), `of the ${fit.on.toLocaleString("en-US")} tokens where the feature is on, those where the rule holds`),
      ...fact("sensitivity", shareOf(fit.sensitivity), `of the ${fit.holds.toLocaleString("en-US")} tokens where the rule holds, those where the feature is on`),
      ...fact("Pearson", fit.pearson === null ? "–" : compact(fit.pearson), "correlation of the feature's value and the rule's (1 where it holds, else 0) over all tokens"),
    );
    const some = (n: number): string => n.toLocaleString("en-US");
    if (!exact) setText(this.#said, `estimated from ${some(fit.on)} firing tokens and ${some(tokens)} tokens of random windows; exact with a model: view.attach(store.attach(model))`);
    else if (fit.holds === 0) setText(this.#said, `it holds at none of ${some(tokens)} tokens${tokens < total ? " so far" : ""}`);
    else setText(this.#said, tokens < total ? `${some(tokens)} of ${some(total)} tokens read` : `over all ${some(total)} tokens`);
    return answer;
  }
}
