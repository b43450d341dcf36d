/**
 * The feature on a text of one's own, as one types. In: `ask` with the text, later the kernel's answer. Out: a strip of
 * its tokens with the feature's values, and, where wanted, the effect of taking it away.
 */
import { shade } from "../../core/colour.js";
import { button, h, setText } from "../../core/dom.js";
import { ExcerptList, kindClass } from "../../core/excerpt-list.js";
import { compact, count } from "../../core/format.js";
import type { Reply } from "../../core/protocol.js";
import { TextBox } from "../../core/text-box.js";
import { effectClass } from "./excerpt.js";
import type { WireStats } from "./synced.js";

export interface OwnTextActions {
  ask: (text: string, effects: boolean) => void;
  point: (facts: TextFacts | null, token: Element | null, byKey: boolean) => void;
}

export interface TextFacts {
  piece: string;
  place: string;
  value: number;
  effect: number | null;
}

interface Answer {
  text: string;
  pieces: string[];
  kinds: number[];
  values: (number | null)[];
  masked: number[];
  effect: (number | null)[] | null;
}

export class OwnText {
  readonly element: HTMLElement;
  readonly #box: TextBox;
  readonly #effects: HTMLButtonElement;
  readonly #list: ExcerptList;
  readonly #said = h("p", { class: "ng-said", role: "status" });
  #answer: Answer | null = null;
  #stats: WireStats | null = null;

  constructor(actions: OwnTextActions) {
    this.#box = new TextBox("your own text", "Type a text.", (text) => actions.ask(text, this.#wanted));
    this.#effects = button("effect of ablation", { class: "ng-toggle", "aria-pressed": "false", title: "log-likelihood of each token with the feature minus without it, in nats" }, () => {
      this.#effects.setAttribute("aria-pressed", String(!this.#wanted));
      actions.ask(this.#box.value, this.#wanted);
    });
    this.#list = new ExcerptList("tokens of your text", (k, i, token, byKey) => {
      const answer = this.#answer;
      if (k === null || !answer) actions.point(null, null, byKey);
      else actions.point({ piece: answer.pieces[i] ?? "", place: `token ${i + 1}`, value: answer.values[i] ?? NaN, effect: answer.effect?.[i] ?? null }, token, byKey);
    });
    this.element = h("section", { class: "ng-dash-text", "aria-label": "your own text" }, h("div", { class: "ng-part-head" }, h("h4", {}, "Your own text"), this.#effects), this.#box.element, this.#list.element, this.#said);
  }

  get #wanted(): boolean {
    return this.#effects.getAttribute("aria-pressed") === "true";
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

  get effects(): boolean {
    return this.#wanted;
  }

  /** Another feature, whose answer is still to come. */
  clear(stats: WireStats): void {
    this.#stats = stats;
    if (this.#box.value === "") {
      this.#answer = null;
      this.#draw();
    }
  }

  answer(reply: Reply): void {
    const { error } = reply;
    this.#said.classList.toggle("ng-failure", Boolean(error));
    if (error) {
      setText(this.#said, [error.message, error.hint].filter(Boolean).join(" "));
      return;
    }
    if (reply.superseded || reply.cancelled) return;
    this.#answer = reply as unknown as Answer;
    this.#draw();
  }

  #draw(): void {
    const answer = this.#answer;
    const values = (answer?.values ?? []).map((value) => value ?? NaN);
    const low = Math.min(0, this.#stats?.min ?? 0, ...values);
    const reach = Math.max(this.#stats?.max ?? 0, -low, ...values, 1e-12);
    const largest = Math.max(0, ...(answer?.effect ?? []).map((e) => Math.abs(e ?? 0)));
    this.#list.element.hidden = !answer?.pieces.length;
    const classOf = (i: number): string => {
      const { name } = shade(values[i] ?? NaN, [low < 0 ? -reach : 0, reach], low < 0);
      return `${name ? ` ${name}` : ""}${kindClass(answer?.kinds[i])}${answer?.masked[i] ? " ng-masked" : ""}${effectClass(answer?.effect?.[i], largest)}`;
    };
    const pieces = answer?.pieces ?? [];
    this.#list.show(pieces.length ? [{ pieces, from: 0, to: pieces.length, home: 0, head: h("span"), label: "your text", classOf }] : []);
    if (!answer?.pieces.length) {
      setText(this.#said, "");
      return;
    }
    const on = values.filter((value) => value > 0).length;
    setText(this.#said, on ? `on at ${on} of ${count(values.length, "token")}, largest ${compact(Math.max(...values))}` : `on at none of ${count(values.length, "token")}`);
  }
}
