/**
 * How the texts are written: prompt, samples, temperature, top-p, length, seed, stop texts, tokens to follow. In: the
 * present values. Out: `changed` with what a person edited; what is no number is not sent.
 */
import { focusable, h } from "../../core/dom.js";
import { TextBox } from "../../core/text-box.js";
import type { Writing } from "./synced.js";

const NUMBERS = [
  ["n", "samples", "pairs of texts; sample i of both shares its random numbers", 1, 16, 1],
  ["max_new_tokens", "tokens", "the longest that a text gets", 1, 4096, 1],
  ["temperature", "temperature", "0: always the likeliest token", 0, 5, 0.1],
  ["top_p", "top-p", "only the likeliest tokens that make up this share are drawn from", 0.01, 1, 0.05],
  ["seed", "seed", "of the random numbers", 0, 1e9, 1],
] as const;

/** Texts between bars, as `"\n\n" | " happy"`: white space counts. */
const listed = (text: string): string[] => (text === "" ? [] : text.split("|").map((part) => part.replace(/\\n/g, "\n"))).filter((part) => part !== "");
const written = (list: readonly string[]): string => list.map((part) => part.replace(/\n/g, "\\n")).join("|");

export class WritingControls {
  readonly element: HTMLElement;
  readonly #text: TextBox;
  readonly #chat = focusable(h("input", { type: "checkbox" }));
  readonly #chatField: HTMLElement;
  readonly #numbers = new Map<string, HTMLInputElement>();
  readonly #stop = focusable(h("input", { type: "text", class: "ng-listed", placeholder: "none", spellcheck: "false", "aria-label": "texts to stop at", title: "the text ends when one of these is written; several with | between, \\n is a line break" }));
  readonly #tokens = focusable(h("input", { type: "text", class: "ng-listed", placeholder: "none", spellcheck: "false", "aria-label": "tokens to follow", title: "tokens whose probability and rank are followed; several with | between. Most begin with a space" }));

  constructor(changed: (change: Partial<Writing>) => void) {
    this.#text = new TextBox("prompt", "What is continued", (text) => changed({ text }));
    this.#chat.addEventListener("change", () => changed({ chat: this.#chat.checked }));
    this.#chatField = h("label", { class: "ng-field", title: "read it as a user's message, through the model's chat template" }, this.#chat, h("span", { class: "ng-name" }, "chat"));
    const fields = NUMBERS.map(([key, name, title, min, max, step]) => {
      const input = focusable(h("input", { type: "number", class: "ng-small", min, max, step, "aria-label": name }));
      this.#numbers.set(key, input);
      input.addEventListener("input", () => {
        const value = Number(input.value);
        const whole = step === 1;
        const fine = input.value !== "" && value >= min && value <= max && (!whole || Number.isInteger(value));
        input.setAttribute("aria-invalid", String(!fine));
        if (fine) changed({ [key]: value });
      });
      return h("label", { class: "ng-field", title }, h("span", { class: "ng-name" }, name), input);
    });
    this.#stop.addEventListener("change", () => changed({ stop: listed(this.#stop.value) }));
    this.#tokens.addEventListener("change", () => changed({ tokens: listed(this.#tokens.value) }));
    this.element = h(
      "div",
      { class: "ng-editor" },
      this.#text.element,
      h(
        "div",
        { class: "ng-controls" },
        this.#chatField,
        ...fields,
        h("label", { class: "ng-field" }, h("span", { class: "ng-name" }, "stop at"), this.#stop),
        h("label", { class: "ng-field" }, h("span", { class: "ng-name" }, "follow tokens"), this.#tokens),
      ),
    );
  }

  get composing(): boolean {
    return this.#text.composing;
  }

  show(writing: Writing, chat: boolean): void {
    this.#text.value = writing.text;
    this.#chat.checked = writing.chat;
    this.#chatField.hidden = !chat;
    for (const [key] of NUMBERS) {
      const input = this.#numbers.get(key);
      if (!input) continue;
      if (Number(input.value) !== writing[key] || input.value === "") input.value = String(writing[key]);
      input.setAttribute("aria-invalid", "false");
    }
    for (const [input, list] of [[this.#stop, writing.stop], [this.#tokens, writing.tokens]] as const) {
      if (document.activeElement !== input) input.value = written(list);
    }
  }
}
