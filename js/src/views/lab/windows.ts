/**
 * The held-out windows with their controls: which are shown, how much of each, scales, threshold, and what the marks mean.
 * In: windows and what was simulated. Out: `scale` and `threshold` as the person sets them; pointing.
 */
import { button, focusable, h, setText } from "../../core/dom.js";
import { compact, count } from "../../core/format.js";
import { Overlay, type Pointed, groupOf } from "./overlay.js";
import { type Said, type Verdict, type Window, scalesOf, verdictOf } from "./picture.js";
import type { WireJudged } from "./synced.js";
import { verdictWords } from "./words.js";

export interface WindowsActions {
  scale: (scale: "one" | "own") => void;
  threshold: (share: number) => void;
  point: (at: Pointed | null, token: Element | null, byKey: boolean) => void;
}

export interface WindowsShown {
  windows: readonly Window[];
  said: readonly Said[];
  largest: number;
  signed: boolean;
  scale: "one" | "own";
  threshold: number;
  judged: Record<string, WireJudged>;
}

const KINDS = [
  ["all", "all windows"],
  ["wrong", "with misses or false alarms"],
  ["strong", "strong"],
  ["random", "random"],
] as const;
const CONTEXTS = [
  ["8", "8 tokens each side"],
  ["16", "16 tokens each side"],
  ["0", "whole windows"],
] as const;

export class Windows {
  readonly element: HTMLElement;
  readonly #kind = focusable(h("select", { "aria-label": "which windows" }, ...KINDS.map(([value, name]) => h("option", { value }, name))));
  readonly #context = focusable(h("select", { "aria-label": "context" }, ...CONTEXTS.map(([value, name]) => h("option", { value }, name))));
  readonly #threshold = focusable(h("input", { type: "number", class: "ng-percent-field", min: 0.1, max: 100, step: 1, "aria-label": "threshold, % of the largest value" }));
  readonly #own: HTMLButtonElement;
  readonly #told = h("p", { class: "ng-lab-count", role: "status" });
  readonly #overlay: Overlay;
  #shown: WindowsShown | null = null;

  constructor(actions: WindowsActions) {
    this.#context.value = "16";
    this.#own = button("each half its own scale", { class: "ng-toggle", "aria-pressed": "false", title: "colours of the lower half end at the largest simulated value, in place of one scale for both" }, () => actions.scale(this.#own.getAttribute("aria-pressed") === "true" ? "one" : "own"));
    this.#overlay = new Overlay("held-out windows", actions.point);
    for (const select of [this.#kind, this.#context]) select.addEventListener("change", () => this.#draw());
    this.#threshold.addEventListener("change", () => {
      const share = Number(this.#threshold.value) / 100;
      const fine = share >= 0.001 && share <= 1;
      this.#threshold.setAttribute("aria-invalid", String(!fine));
      if (fine) actions.threshold(share);
    });
    const field = (name: string, of: HTMLElement, after = ""): HTMLElement => h("label", { class: "ng-field" }, h("span", { class: "ng-name" }, name), of, after ? h("span", { class: "ng-name" }, after) : null);
    const key = h(
      "p",
      { class: "ng-lab-key" },
      h("span", { class: "ng-tok ng-p20 ng-low-p5" }, " real "),
      " above, simulated below; ",
      h("span", { class: "ng-tok ng-p20 ng-miss" }, " miss "),
      " on, simulated off; ",
      h("span", { class: "ng-tok ng-low-p5 ng-alarm" }, " false alarm "),
      " the reverse",
    );
    this.element = h(
      "section",
      { class: "ng-lab-windows", "aria-label": "windows" },
      h("div", { class: "ng-part-head" }, h("h4", {}, "Held-out windows"), field("show", this.#kind), field("context", this.#context), this.#own, field("on from", this.#threshold, "% of its largest")),
      key,
      this.#told,
      this.#overlay.element,
    );
  }

  show(shown: WindowsShown): void {
    this.#shown = shown;
    this.#own.setAttribute("aria-pressed", String(shown.scale === "own"));
    if (document.activeElement !== this.#threshold) this.#threshold.value = String(Number((100 * shown.threshold).toPrecision(3)));
    this.#threshold.removeAttribute("aria-invalid");
    this.#draw();
  }

  #draw(): void {
    const shown = this.#shown;
    if (!shown) return;
    const { windows, said, largest, signed, threshold } = shown;
    const edge = threshold * largest;
    const kind = this.#kind.value;
    const chosen = ({ group }: Window, { misses, alarms }: Verdict): boolean => kind === "all" || (kind === "wrong" ? misses + alarms > 0 : groupOf(group) === kind);
    const names = { strong: ["Strong windows", "where the feature is on, of documents that no explainer sees"], random: ["Random windows", "of documents that no explainer sees"] };
    const heading = (group: string, all: number, some: number): Node => {
      const [name, about] = names[group as keyof typeof names];
      return h("h5", { role: "presentation", title: about }, name, h("span", { class: "ng-quiet" }, ` · ${some === all ? all : `${some} of ${all}`}`));
    };
    const scales = scalesOf(windows, said, largest, shown.scale);
    const notes = new Map<number, { text: string; title: string }[]>();
    for (const [task, { verdicts }] of Object.entries(shown.judged)) {
      for (const verdict of verdicts) notes.set(verdict.window, [...(notes.get(verdict.window) ?? []), verdictWords(task, verdict)]);
    }
    this.#overlay.show({ windows, said, scales, signed, edge, context: Number(this.#context.value), chosen, heading, notes: (k) => notes.get(k) ?? [] });
    const total = windows.reduce((sum, w) => sum + w.real.length, 0);
    const sums = windows.map((w, k) => verdictOf(w, said[k] ?? { values: null, why: "" }, edge)).reduce((a, b) => ({ hits: a.hits + b.hits, misses: a.misses + b.misses, alarms: a.alarms + b.alarms }), { hits: 0, misses: 0, alarms: 0 });
    const any = said.some(({ values }) => values);
    const ends = shown.scale === "own" ? `full colour: real ${compact(scales.real)}, simulated ${compact(scales.said)}` : `full colour: ${compact(scales.real)}`;
    setText(this.#told, `${any ? `${count(sums.hits, "hit")}, ${sums.misses} ${sums.misses === 1 ? "miss" : "misses"}, ${count(sums.alarms, "false alarm")} in ${count(total, "token")}` : `nothing simulated in ${count(total, "token")}`} · on: ${compact(edge)} or more · ${ends}`);
  }
}
