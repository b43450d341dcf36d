/**
 * The questions about one feature: a row of numbers for each, answered by a click or a digit. In: which there are and what
 * was answered. Out: `changed` with all answers. The rows together are one tab stop: digits answer and go on, arrows move,
 * Backspace takes an answer back, Enter asks for the next feature.
 */
import { button, focusable, h, setText } from "../../core/dom.js";
import type { Answers, Question, WireFrame } from "./synced.js";

interface Line {
  question: Question;
  group: number; // which rated group; -1: the feature as a whole
  element: HTMLElement;
  choices: HTMLElement[];
}

export interface FormActions {
  changed: (answers: Answers) => void;
  next: () => void;
  point: (group: number | null) => void; // the group that is asked about
}

export const letter = (k: number): string => String.fromCharCode(65 + (k % 26)) + (k >= 26 ? String(Math.floor(k / 26)) : "");

export class Form {
  readonly element: HTMLElement;
  readonly #hypothesis = focusable(h("input", { type: "text", class: "ng-query", "aria-label": "hypothesis", placeholder: "It fires on…", dir: "auto", autocomplete: "off" }));
  readonly #rows = focusable(h("div", { class: "ng-questions", role: "group", tabindex: 0, "aria-label": "questions: digits answer, arrows move, Backspace takes back, Enter goes on" }));
  readonly #sum = h("span", { class: "ng-sum", role: "status" });
  #lines: Line[] = [];
  #answers: Answers = { hypothesis: "", confidence: null, consistency: [], logits: null, gap: null, specificity: null };
  #at = 0;
  #most: Record<Question, number> = { confidence: 3, consistency: 5, logits: 3, gap: 1, specificity: 3 };

  constructor(private readonly actions: FormActions) {
    this.#hypothesis.addEventListener("change", () => {
      this.#answers = { ...this.#answers, hypothesis: this.#hypothesis.value };
      actions.changed(this.#answers);
    });
    this.#hypothesis.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.isComposing) this.#rows.focus();
    });
    this.#rows.addEventListener("keydown", (event) => this.#key(event));
    this.#rows.addEventListener("focus", () => this.#mark());
    this.#rows.addEventListener("blur", () => {
      this.#mark(false);
      actions.point(null);
    });
    this.element = h("section", { class: "ng-form", "aria-label": "ratings" }, h("label", { class: "ng-field ng-hypothesis" }, h("span", { class: "ng-name" }, "hypothesis"), this.#hypothesis), this.#rows, this.#sum);
  }

  show(frame: WireFrame, live: boolean): void {
    const { questions, rated } = frame;
    const empty: Answers = { hypothesis: "", confidence: null, consistency: rated.map(() => null), logits: null, gap: null, specificity: null };
    this.#answers = frame.answers ?? empty;
    this.#most = Object.fromEntries(Object.entries(questions).map(([name, [most]]) => [name, most])) as Record<Question, number>;
    this.#hypothesis.value = this.#answers.hypothesis;
    this.#hypothesis.disabled = !live;
    const order: [Question, number][] = [["confidence", -1], ...rated.map((group): [Question, number] => ["consistency", group]), ["logits", -1], ["gap", -1], ["specificity", -1]];
    this.#lines = order.map(([question, group]) => {
      const [most, asked] = questions[question];
      const text = group < 0 ? asked : asked.replace("this group", `group ${letter(group)}`);
      const choices = Array.from({ length: most + 1 }, (_, value) => {
        const choice = button(String(value), { class: "ng-choice", tabindex: -1, "aria-pressed": "false", "aria-label": `${text} ${value}` }, () => {
          this.#at = this.#lines.findIndex((line) => line.choices.includes(choice));
          this.#set(value);
        });
        choice.disabled = !live;
        return choice;
      });
      return { question, group, choices, element: h("div", { class: "ng-question" }, h("span", { class: "ng-asked" }, text), h("span", { class: "ng-choices" }, ...choices)) };
    });
    this.#at = Math.max(0, this.#lines.findIndex((line) => this.#of(line) === null && !this.#void(line)));
    this.#rows.replaceChildren(...this.#lines.map(({ element }) => element));
    this.#draw();
  }

  focus(): void {
    this.#hypothesis.focus();
  }

  get complete(): boolean {
    return this.#lines.every((line) => this.#void(line) || this.#of(line) !== null);
  }

  #of({ question, group }: Line): number | null {
    if (question !== "consistency") return this.#answers[question];
    const k = this.#lines.filter((line) => line.question === "consistency").findIndex((line) => line.group === group);
    return this.#answers.consistency[k] ?? null;
  }

  /** The question of the gap is void where all tokens fit. */
  #void({ question }: Line): boolean {
    return question === "gap" && this.#answers.logits === this.#most.logits;
  }

  #set(value: number | null): void {
    const line = this.#lines[this.#at];
    if (!line) return;
    if (line.question === "consistency") {
      const k = this.#lines.filter((one) => one.question === "consistency").indexOf(line);
      this.#answers = { ...this.#answers, consistency: this.#answers.consistency.map((old, i) => (i === k ? value : old)) };
    } else {
      this.#answers = { ...this.#answers, [line.question]: value };
    }
    this.actions.changed(this.#answers);
    if (value !== null) this.#step(1);
    this.#draw();
  }

  #step(by: 1 | -1): void {
    for (let next = this.#at + by; ; next += by) {
      const line = this.#lines[next];
      if (!line) return;
      if (this.#void(line)) continue;
      this.#at = next;
      return;
    }
  }

  #key(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const line = this.#lines[this.#at];
    if (!line) return;
    if (/^\d$/.test(event.key)) {
      const value = Number(event.key);
      if (value < line.choices.length && !this.#void(line)) this.#set(value);
    } else if (event.key === "Backspace") {
      if (this.#of(line) === null) this.#step(-1);
      this.#set(null);
    } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      this.#step(event.key === "ArrowDown" ? 1 : -1);
    } else if (event.key === "Home" || event.key === "End") {
      this.#at = event.key === "Home" ? 0 : this.#lines.length - 1;
    } else if (event.key === "Enter" && event.target === this.#rows) {
      this.actions.next();
      return;
    } else {
      return;
    }
    event.preventDefault();
    this.#mark();
  }

  #mark(on = this.#rows.matches(":focus, :focus-within")): void {
    this.#lines.forEach(({ element }, k) => element.classList.toggle("ng-cur", on && k === this.#at));
    const group = this.#lines[this.#at]?.group ?? -1;
    this.actions.point(on && group >= 0 ? group : null);
  }

  #draw(): void {
    let sum = 0;
    for (const line of this.#lines) {
      const [value, out] = [this.#of(line), this.#void(line)];
      line.element.classList.toggle("ng-void", out);
      line.choices.forEach((choice, k) => choice.setAttribute("aria-pressed", String(!out && value === k)));
      if (line.question !== "consistency" && !out) sum += value ?? 0;
    }
    const scores = this.#answers.consistency.map((value) => (value === null ? "–" : String(sum + value)));
    setText(this.#sum, this.complete ? `scores of the groups, of 14: ${scores.join(", ")}` : "");
    this.#mark();
  }
}
