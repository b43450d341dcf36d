/**
 * The explanation and what one does with it: the text, who simulates, explain, revise, undo and redo, accept. In: the
 * traits' values. Out: what the person asks for. A line says how a pattern is written, or what is wrong with the text.
 */
import { button, focusable, h, setText } from "../../core/dom.js";
import type { ErrorInfo } from "../../core/protocol.js";
import { TextBox } from "../../core/text-box.js";
import type { Traits, WireStep } from "./synced.js";

export interface EditorActions {
  typed: (text: string) => void;
  simulate: () => void;
  simulator: (name: string) => void;
  explain: (by: string) => void;
  revise: (by: string) => void;
  go: (step: number) => void;
  accept: (author: string) => void;
  stop: () => void;
}

export interface Shown {
  traits: Pick<Traits, "simulator" | "simulators" | "explainers" | "author" | "history" | "step" | "attached">;
  live: boolean;
  possible: boolean; // the feature can be explained at all
  problem: ErrorInfo | null;
  asked: boolean;
  texts: boolean; // a text of one's own is there to revise with
}

export class Editor {
  readonly element: HTMLElement;
  readonly #box: TextBox;
  readonly #simulator = focusable(h("select", { "aria-label": "who simulates" }));
  readonly #simulators: HTMLElement;
  readonly #simulate: HTMLButtonElement;
  readonly #explainer = focusable(h("select", { "aria-label": "who explains" }));
  readonly #author = focusable(h("input", { type: "text", class: "ng-author", "aria-label": "author", placeholder: "you", autocomplete: "off" }));
  readonly #explain: HTMLButtonElement;
  readonly #revise: HTMLButtonElement;
  readonly #undo: HTMLButtonElement;
  readonly #redo: HTMLButtonElement;
  readonly #accept: HTMLButtonElement;
  readonly #actions: HTMLElement;
  readonly #help: HTMLElement;
  readonly #problem = h("p", { class: "ng-problem", role: "status" });
  readonly #doing = h("span", { class: "ng-doing", role: "status" });
  readonly #stop: HTMLButtonElement;
  #shown: Shown | null = null;

  constructor(actions: EditorActions) {
    this.#box = new TextBox("explanation", "Type an explanation.", (text) => actions.typed(text));
    this.#box.element.addEventListener("keydown", (event) => {
      // a simulator that is not asked at every edit is asked by Enter; else Enter is a new line
      if (event.key !== "Enter" || event.shiftKey || event.isComposing || this.#quick) return;
      event.preventDefault();
      actions.simulate();
    });
    this.#simulator.addEventListener("change", () => actions.simulator(this.#simulator.value));
    this.#simulate = button("Simulate", { class: "ng-button", title: "ask this simulator about every window (Enter)" }, actions.simulate);
    this.#explain = button("Explain", { class: "ng-button", title: "a new explanation out of the windows that explain; it never sees those that test" }, () => actions.explain(this.#explainer.value));
    this.#revise = button("Revise", { class: "ng-button" }, () => actions.revise(this.#explainer.value));
    this.#undo = button("↶", { class: "ng-icon", "aria-label": "undo", title: "back to the step before" }, () => actions.go(this.#at - 1));
    this.#redo = button("↷", { class: "ng-icon", "aria-label": "redo", title: "forth to the next step" }, () => actions.go(this.#at + 1));
    this.#accept = button("Accept", { class: "ng-button", title: "write the explanation and its scores to the store" }, () => actions.accept(this.#author.value));
    this.#stop = button("Stop", { class: "ng-button", hidden: true }, actions.stop);
    const code = (text: string): HTMLElement => h("code", { dir: "ltr" }, text);
    this.#help = h(
      "p",
      { class: "ng-lab-help" },
      "A pattern is a line: ",
      code('" of" * " the"  9.5'),
      " tokens, * any token, ^ the beginning, and the value at the last token; ",
      code("/\\p{Hebrew}/ 12"),
      " a regular expression.",
    );
    const field = (name: string, of: HTMLElement, title = ""): HTMLElement => h("label", { class: "ng-field", title: title || null }, h("span", { class: "ng-name" }, name), of);
    this.#simulators = field("simulated by", this.#simulator);
    this.#actions = h(
      "div",
      { class: "ng-controls" },
      h("span", { class: "ng-group" }, field("by", this.#explainer), this.#explain, this.#revise),
      h("span", { class: "ng-group" }, this.#undo, this.#redo),
      h("span", { class: "ng-group" }, this.#simulators, this.#simulate),
      h("span", { class: "ng-group ng-lab-accept" }, field("author", this.#author, "of what is typed; an explainer’s text keeps its author"), this.#accept),
    );
    this.element = h("section", { class: "ng-editor", "aria-label": "explanation" }, this.#box.element, h("div", { class: "ng-lab-under" }, this.#problem, this.#help), this.#actions, h("div", { class: "ng-lab-doing" }, this.#doing, this.#stop));
  }

  get composing(): boolean {
    return this.#box.composing;
  }

  get value(): string {
    return this.#box.value;
  }

  set value(text: string) {
    this.#box.value = text;
  }

  focus(): void {
    this.#box.focus();
  }

  get #at(): number {
    return this.#shown?.traits.step ?? -1;
  }

  get #quick(): boolean {
    const traits = this.#shown?.traits;
    return traits?.simulators.find(([name]) => name === traits.simulator)?.[1] ?? true;
  }

  show(shown: Shown): void {
    this.#shown = shown;
    const { traits, live, possible, problem } = shown;
    const options = (select: HTMLSelectElement, names: readonly string[], now: string): void => {
      if (select.options.length !== names.length) select.replaceChildren(...names.map((name) => h("option", { value: name }, name)));
      if (names.includes(now)) select.value = now;
    };
    options(this.#simulator, traits.simulators.map(([name]) => name), traits.simulator);
    options(this.#explainer, traits.explainers, this.#explainer.value || (traits.attached ? "" : "tokens"));
    this.#box.readOnly = !live || !possible;
    this.#actions.hidden = !live || !possible;
    this.#simulators.hidden = traits.simulators.length < 2;
    this.#simulate.hidden = this.#quick;
    this.#help.hidden = !live || !possible || !this.#quick;
    const now: WireStep | undefined = traits.history[traits.step];
    const nothing = !now?.text.trim();
    this.#undo.disabled = traits.step <= 0;
    this.#redo.disabled = traits.step >= traits.history.length - 1;
    this.#revise.hidden = !traits.attached;
    this.#revise.disabled = nothing;
    this.#revise.title = shown.texts ? "explain again with your text below as a counterexample" : "look through the corpus for where it is most wrong, and explain again with that; windows that test are left out";
    const kept = now?.kept ?? false;
    this.#accept.disabled = nothing || kept;
    this.#accept.textContent = kept ? "In the store" : "Accept";
    if (document.activeElement !== this.#author) this.#author.value = traits.author;
    const empty = live && possible && nothing && !this.#box.value.trim();
    const message = empty ? "" : problem ? [problem.message, problem.hint].filter(Boolean).join(" ") : !shown.asked && live && !nothing ? "Not simulated yet: press Simulate, or Enter." : "";
    setText(this.#problem, message);
    this.#help.hidden ||= message !== "";
    this.#problem.classList.toggle("ng-quiet", !problem);
  }

  /** Says how far a job is; "" when none runs. Its buttons wait meanwhile. */
  doing(text: string, running: boolean): void {
    setText(this.#doing, text);
    this.#doing.classList.toggle("ng-failure", false);
    this.#stop.hidden = !running;
    this.#explain.disabled = running;
    if (running) this.#revise.disabled = this.#accept.disabled = true;
    else if (this.#shown) this.show(this.#shown);
  }

  /** Why a job failed. */
  failed(text: string): void {
    this.doing(text, false);
    this.#doing.classList.toggle("ng-failure", true);
  }
}
