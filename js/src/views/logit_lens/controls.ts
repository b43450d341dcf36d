/**
 * The live editor: the text, and the token whose rank is told. In: the draft to show. Out: calls for a new text, and for
 * a target as it was typed; whether that is one token only the kernel knows, and `complain` says its answer beside the
 * field. Nothing is sent while an input method is composing.
 */
import { focusable, h } from "../../core/dom.js";
import { quoted } from "../../core/format.js";
import { TextBox } from "../../core/text-box.js";
import type { WireLens } from "./synced.js";
import type { Draft } from "./ui-state.js";

export interface ControlActions {
  text: (text: string) => void;
  target: (target: string) => void;
}

export class Controls {
  readonly element: HTMLElement;
  readonly #text: TextBox;
  readonly #target: HTMLInputElement;
  readonly #chosen = h("span", { class: "ng-chosen ng-quiet", dir: "auto" });
  readonly #problem: HTMLElement;
  #shown: Draft | null = null;

  constructor(name: string, actions: ControlActions) {
    this.#text = new TextBox("text", "Type some text", actions.text);
    const problem = `${name}-problem`;
    const target = (this.#target = focusable(
      h("input", { class: "ng-target", type: "text", spellcheck: "false", autocomplete: "off", autocapitalize: "off", placeholder: "the next token", "aria-label": "target token", "aria-describedby": problem, dir: "auto", title: "one token, as the model has it: most begin with a space; empty: the token that really comes next" }),
    ));
    for (const event of ["input", "compositionend"]) {
      target.addEventListener(event, (input) => {
        if (!(input as InputEvent).isComposing) actions.target(target.value);
      });
    }
    this.#problem = h("p", { class: "ng-problem", id: problem, role: "status", hidden: true });
    this.element = h(
      "div",
      { class: "ng-editor" },
      this.#text.element,
      h(
        "div",
        { class: "ng-controls" },
        h("div", { class: "ng-field ng-field-target" }, h("span", { class: "ng-name", "aria-hidden": "true" }, "target"), target, this.#chosen),
      ),
      this.#problem,
    );
  }

  get composing(): boolean {
    return this.#text.composing;
  }

  /** What is typed into the target field now. */
  get target(): string {
    return this.#target.value;
  }

  /** Shows a draft made elsewhere; a target that is being typed stays as long as nobody else changed it. */
  show(draft: Draft): void {
    this.#text.value = draft.text;
    if (draft.target !== this.#shown?.target) {
      this.#target.value = typeof draft.target === "string" ? draft.target : "";
      this.complain(null);
    }
    this.#shown = draft;
  }

  /** Names the token that the picture was made with. */
  resolve(chosen: WireLens["chosen"]): void {
    this.#chosen.textContent = chosen ? `${quoted(chosen[1])} · id ${chosen[0]}` : "";
    if (chosen && typeof this.#shown?.target === "number") this.#target.value = chosen[1];
  }

  complain(problem: string | null): void {
    this.#problem.hidden = problem === null;
    this.#problem.textContent = problem ?? "";
    this.#target.setAttribute("aria-invalid", String(problem !== null));
    this.#chosen.hidden = problem !== null;
  }
}
