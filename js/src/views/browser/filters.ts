/**
 * The fields that say which features are shown. In: a query. Out: another one, a moment after a person stops typing.
 * What a field can't read is marked and told, and the table stays. Knows no traits.
 */
import { focusable, h, setText } from "../../core/dom.js";
import type { Query, Remarks } from "./synced.js";

const PAUSE = 250; // ms

type TextName = "explanation" | "token" | "logit" | "text";
const TEXTS: [name: TextName, label: string, hint: string, title: string][] = [
  ["explanation", "explanation", "words", "words of the best explanation, in any order"],
  ["token", "on at", "token", "a token at which the feature is on, spaces and all: “ the” is not “the”"],
  ["logit", "raises, lowers", "token", "a token among those whose logits it raises or lowers most"],
  ["text", "in examples", "text", "the feature is on within this text in one of its examples"],
];
const FLAGS: [name: string, label: string, query: Pick<Query, "flags" | "without">][] = [
  ["", "any", {}],
  ["alive", "without dead", { without: ["dead"] }],
  ["usual", "without ultralow", { without: ["ultralow"] }],
  ["dead", "dead", { flags: ["dead"] }],
  ["ultralow", "ultralow", { flags: ["ultralow"] }],
  ["not finite", "not finite", { flags: ["not finite"] }],
];

const field = (label: string, title: string, ...inputs: HTMLElement[]): HTMLElement =>
  h("label", { class: "ng-field", title }, h("span", { class: "ng-name" }, label), ...inputs);

export class Filters {
  readonly element: HTMLElement;
  readonly #texts = new Map<TextName, HTMLInputElement>();
  readonly #low = focusable(h("input", { class: "ng-density", inputmode: "decimal", placeholder: "0", "aria-label": "density from", spellcheck: "false", autocomplete: "off" }));
  readonly #high = focusable(h("input", { class: "ng-density", inputmode: "decimal", placeholder: "1", "aria-label": "density to", spellcheck: "false", autocomplete: "off" }));
  readonly #flags = focusable(h("select", {}, ...FLAGS.map(([value, label]) => h("option", { value }, label))));
  readonly #list = focusable(h("select", {}));
  readonly #rating = focusable(
    h("select", {}, h("option", { value: "" }, "any"), ...[1, 2, 3, 4, 5].map((n) => h("option", { value: n }, n === 5 ? "5" : n === 1 ? "rated" : `${n} or more`))),
  );
  readonly #problem = h("p", { class: "ng-problem", role: "alert", hidden: true });
  #timer: ReturnType<typeof setTimeout> | undefined;
  #lists = "";

  constructor(
    private readonly changed: (query: Query) => void,
    signal: AbortSignal,
  ) {
    const later = (): void => {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#tell(), PAUSE);
    };
    for (const [name, label, placeholder] of TEXTS) {
      const input = focusable(h("input", { type: "text", class: `ng-find ng-find-${name}`, placeholder, "aria-label": label, spellcheck: "false", autocomplete: "off", autocapitalize: "off", dir: "auto" }));
      this.#texts.set(name, input);
    }
    this.element = h(
      "div",
      { class: "ng-filters", role: "search", "aria-label": "which features" },
      ...TEXTS.map(([name, label, , title]) => field(label, title, this.#texts.get(name) ?? h("span"))),
      h(
        "div",
        { class: "ng-field", role: "group", "aria-label": "density", title: "share of the measured tokens where the feature is on, as 0.001 or 1e-3 or 0.1%" },
        h("span", { class: "ng-name" }, "density"),
        this.#low,
        h("span", { class: "ng-quiet" }, "to"),
        this.#high,
      ),
      field("flags", "dead: never above zero. ultralow: density below 1e-6, dead ones too. not finite: NaN or infinite somewhere", this.#flags),
      field("rating", "yours, 1 to 5", this.#rating),
      field("list", "features on one of your lists", this.#list),
      this.#problem,
    );
    this.element.addEventListener("input", later);
    this.element.addEventListener("keydown", ({ key }) => {
      if (key === "Enter") this.#tell();
    });
    signal.addEventListener("abort", () => clearTimeout(this.#timer));
  }

  /** Fields are as this query says; what a person is typing in is let be. */
  show(query: Query, remarks: Partial<Remarks>): void {
    const lists = JSON.stringify([remarks.lists, query.list]);
    if (lists !== this.#lists) {
      this.#lists = lists;
      const names = (remarks.lists ?? []).map(([name, n]): [string, string] => [name, `${name} (${n})`]);
      const gone = query.list && !names.some(([name]) => name === query.list) ? [[query.list, query.list] as [string, string]] : [];
      this.#list.replaceChildren(h("option", { value: "" }, names.length ? "any" : "none yet"), ...[...names, ...gone].map(([value, label]) => h("option", { value }, label)));
    }
    const put = (input: HTMLInputElement | HTMLSelectElement, value: string): void => {
      if (!input.matches(":focus") && input.value !== value) input.value = value;
    };
    for (const [name, input] of this.#texts) put(input, String(query[name] ?? ""));
    const [low, high] = query.density ?? [0, 1];
    put(this.#low, low === 0 ? "" : String(low));
    put(this.#high, high === 1 ? "" : String(high));
    this.#flags.value = FLAGS.find(([, , one]) => JSON.stringify([one.flags ?? [], one.without ?? []]) === JSON.stringify([query.flags ?? [], query.without ?? []]))?.[0] ?? "";
    this.#list.value = query.list ?? "";
    this.#rating.value = query.rating ? String(query.rating[0]) : "";
  }

  complain(problem: string | null): void {
    this.#problem.hidden = problem === null;
    setText(this.#problem, problem ?? "");
  }

  clear(): void {
    clearTimeout(this.#timer);
    for (const input of [...this.#texts.values(), this.#low, this.#high, this.#flags, this.#list, this.#rating]) input.value = "";
    this.complain(null);
  }

  #number(input: HTMLInputElement, otherwise: number): number {
    const text = input.value.trim();
    const value = text === "" ? otherwise : text.endsWith("%") ? Number(text.slice(0, -1)) / 100 : Number(text);
    input.setAttribute("aria-invalid", String(!(value >= 0 && value <= 1)));
    return value;
  }

  #tell(): void {
    clearTimeout(this.#timer);
    const [low, high] = [this.#number(this.#low, 0), this.#number(this.#high, 1)];
    if (!(low >= 0 && high <= 1 && low <= high)) {
      this.complain("A density is a share: from 0 to 1, the smaller first; 1e-4 and 0.01% are the same.");
      return;
    }
    const rating = Number(this.#rating.value);
    const texts = [...this.#texts].filter(([, { value }]) => value !== "").map(([name, { value }]) => [name, value]);
    this.changed({
      ...(Object.fromEntries(texts) as Query),
      ...(low > 0 || high < 1 ? { density: [low, high] } : {}),
      ...FLAGS.find(([value]) => value === this.#flags.value)?.[2],
      ...(this.#list.value && { list: this.#list.value }),
      ...(rating ? { rating: [rating, 5] } : {}),
    });
  }
}
