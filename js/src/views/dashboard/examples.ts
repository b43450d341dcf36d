/**
 * The examples: groups of excerpts of the corpus, the feature's value as the colour of each token, and, where they were
 * asked for, what the token loses without the feature as a line under it. In: a page, later more excerpts and effects.
 * Out: what the person asks for; pointing at tokens.
 */
import { shade } from "../../core/colour.js";
import { button, focusable, h, setText } from "../../core/dom.js";
import { ExcerptList, type Line, kindClass } from "../../core/excerpt-list.js";
import { compact, count } from "../../core/format.js";
import { type Excerpt, cut, effectClass, largestEffect } from "./excerpt.js";
import { shareOf } from "./numbers.js";
import type { WireGroup, WirePage } from "./synced.js";

export interface ExampleActions {
  more: (groups: Record<string, number>) => void; // how many of each are there
  effects: (wanted: boolean) => void;
  point: (one: Excerpt | null, token: number, element: Element | null, byKey: boolean) => void;
  search: () => void; // through the whole corpus, for the range
  letGo: () => void; // of the range
  stop: () => void;
}

/** Excerpts with a value in a range that was brushed. */
export interface Ranged {
  low: number;
  high: number;
  examples: Excerpt[];
  found: number;
  tokens: number; // of the corpus that were read for it; 0: what the store keeps
  reading: boolean;
}

const CONTEXTS = [
  ["5", "5 tokens each side"],
  ["16", "16 tokens each side"],
  ["0", "whole window"],
] as const;
const KINDS = [
  ["all", "all groups"],
  ["top", "top"],
  ["interval", "intervals"],
  ["firing", "firing at random"],
  ["random", "random windows"],
] as const;

export class Examples {
  readonly element: HTMLElement;
  readonly #kind = focusable(h("select", { "aria-label": "which examples" }, ...KINDS.map(([value, name]) => h("option", { value }, name))));
  readonly #context = focusable(h("select", { "aria-label": "context" }, ...CONTEXTS.map(([value, name]) => h("option", { value }, name))));
  readonly #breaks: HTMLButtonElement;
  readonly #effects: HTMLButtonElement;
  readonly #key = h("span", { class: "ng-effect-key" });
  readonly #list: ExcerptList;
  readonly #said = h("div", { class: "ng-range-said", hidden: true });
  readonly #more: HTMLButtonElement;
  readonly #others = h("span", { class: "ng-quiet ng-left-out" });
  #left: Record<string, number> = {};
  #page: WirePage | null = null;
  #loaded: Excerpt[] = [];
  #ranged: Ranged | null = null;
  #attached = false;
  #live = false;
  #shown: Excerpt[] = [];

  constructor(private readonly actions: ExampleActions) {
    this.#list = new ExcerptList("examples", (k, i, token, byKey) => actions.point(k === null ? null : (this.#shown[k] ?? null), i, token, byKey));
    this.#breaks = button("line breaks", { class: "ng-toggle", "aria-pressed": "false", title: "show line breaks as breaks" }, () => {
      const on = this.#press(this.#breaks);
      this.#list.element.classList.toggle("ng-flat", !on);
    });
    this.#effects = button("effect of ablation", { class: "ng-toggle", "aria-pressed": "false", title: "log-likelihood of each token with the feature minus without it (it is set to zero everywhere in the window), in nats: two passes, nothing estimated" }, () => {
      const on = this.#press(this.#effects);
      this.#key.hidden = !on;
      this.actions.effects(on);
      this.#draw();
    });
    this.#more = button("More", { class: "ng-button", title: "more examples of each group that is shown, from the store" }, () => this.actions.more(this.#left));
    this.#key.append(h("span", { class: "ng-helped4" }, "likelier"), " with the feature, ", h("span", { class: "ng-hurt4" }, "less likely"));
    this.#key.hidden = true;
    this.#context.value = "16";
    for (const select of [this.#kind, this.#context]) {
      select.addEventListener("change", () => {
        this.#draw();
        if (this.effectsWanted) this.actions.effects(true);
      });
    }
    const field = (name: string, of: HTMLElement): HTMLElement => h("label", { class: "ng-field" }, h("span", { class: "ng-name" }, name), of);
    this.element = h(
      "section",
      { class: "ng-dash-examples", "aria-label": "examples" },
      h("div", { class: "ng-part-head" }, h("h4", {}, "Examples"), field("show", this.#kind), field("context", this.#context), this.#more, this.#others, this.#breaks, this.#effects, this.#key),
      this.#said,
      this.#list.element,
    );
  }

  get effectsWanted(): boolean {
    return this.#effects.getAttribute("aria-pressed") === "true";
  }

  /** Those on the page that have no effect yet. */
  get withoutEffect(): Excerpt[] {
    return this.#shown.filter(({ effect }) => effect === null);
  }

  show(page: WirePage, examples: Excerpt[], attached: boolean, live: boolean): void {
    this.#page = page;
    this.#loaded = examples;
    this.#ranged = null;
    this.#attached = attached;
    this.#live = live;
    this.#list.letGo();
    this.#effects.hidden = !(attached && live);
    this.#draw();
  }

  add(examples: Excerpt[]): void {
    this.#loaded.push(...examples);
    this.#draw();
  }

  /** Excerpts of a range in place of the groups; null: the groups again. */
  range(ranged: Ranged | null): void {
    this.#ranged = ranged;
    this.#draw();
  }

  /** What is kept on this page with a value in a range, for pages without a kernel. */
  kept(low: number, high: number): Excerpt[] {
    return this.#loaded.filter(({ group, value }) => group !== "random" && value >= low && value <= high && value > 0);
  }

  repaint(): void {
    this.#draw();
  }

  #press(toggle: HTMLButtonElement): boolean {
    const on = toggle.getAttribute("aria-pressed") !== "true";
    toggle.setAttribute("aria-pressed", String(on));
    return on;
  }

  #draw(): void {
    const page = this.#page;
    if (!page) return;
    this.#shown = [];
    const parts: (Line | Node)[] = [];
    const more: Record<string, number> = {};
    if (this.#ranged) {
      parts.push(...this.#ranged.examples.map((one) => this.#excerpt(one)));
    } else {
      const kind = this.#kind.value;
      for (const group of page.groups) {
        if (kind !== "all" && !group.name.startsWith(kind)) continue;
        const some = this.#loaded.filter((one) => one.group === group.name).sort((a, b) => a.rank - b.rank);
        parts.push(this.#heading(group, some.length), ...some.map((one) => this.#excerpt(one)));
        if (group.kept > some.length) more[group.name] = some.length;
      }
    }
    const left = Object.entries(more).reduce((sum, [name, there]) => sum + (page.groups.find((group) => group.name === name)?.kept ?? 0) - there, 0);
    this.#left = more;
    this.#more.hidden = left === 0 || !this.#live;
    setText(this.#more, `More (${left})`);
    setText(this.#others, left > 0 && !this.#live ? `${left} more in the store` : "");
    if (!this.#shown.length) parts.push(h("p", { class: "ng-empty", role: "presentation" }, this.#ranged ? "None of these." : page.stats.count ? "The store keeps no such examples." : "It is on nowhere in the corpus: there are no examples."));
    this.#list.show(parts);
    this.#describe();
  }

  #describe(): void {
    const ranged = this.#ranged;
    this.#said.hidden = ranged === null;
    if (!ranged) return;
    const among = ranged.tokens ? `in ${ranged.tokens.toLocaleString("en-US")} tokens of the corpus` : "among the examples that are kept";
    const whole = ranged.tokens >= (this.#page?.n_tokens ?? 0);
    this.#said.replaceChildren(
      h("span", {}, `values ${compact(ranged.low)} to ${compact(ranged.high)}: ${count(ranged.found, "token")} ${among}${ranged.found > ranged.examples.length ? `, ${ranged.examples.length} of them at random` : ""}`),
      ...(ranged.reading
        ? [button("Stop", { class: "ng-button" }, this.actions.stop)]
        : this.#attached && this.#live && !whole
          ? [button("Look through the corpus", { class: "ng-button", title: "read the whole corpus with the model" }, this.actions.search)]
          : []),
      button("×", { class: "ng-icon", "aria-label": "all examples again", title: "all examples again" }, this.actions.letGo),
    );
  }

  #heading(group: WireGroup, shown: number): HTMLElement {
    const about = {
      top: "the windows with the largest values, one each",
      firing: "tokens at random among those where it is on",
      random: "windows at random, the same ones for all features",
    }[group.name];
    const name = { top: "Top", firing: "Firing, at random", random: "Random windows" }[group.name] ?? `Interval ${compact(group.low ?? 0)} to ${compact(group.high ?? 0)}`;
    const share = group.share === null ? "" : ` · ${shareOf(group.share, 2)} of the tokens where it is on`;
    return h("h5", { role: "presentation", title: about ?? "tokens at random with values in one of the equally wide intervals from 0 to the largest" }, name, h("span", { class: "ng-quiet" }, `${share}${shown < group.kept ? ` · ${shown} of ${group.kept}` : ""}`));
  }

  #excerpt(one: Excerpt): Line {
    const [from, to] = cut(one, Number(this.#context.value));
    const { stats } = this.#page ?? {};
    const signed = (stats?.min ?? 0) < 0;
    const reach = Math.max(stats?.max ?? 0, signed ? -(stats?.min ?? 0) : 0, 1e-12);
    const domain = [signed ? -reach : 0, reach] as const;
    const effects = this.effectsWanted;
    const largest = effects ? largestEffect(this.#effectScale()) : 0;
    this.#shown.push(one);
    const head = h("span", { class: "ng-ex-value", title: `document ${one.document}, token ${one.start + one.at - one.lead}` }, one.group === "random" && !one.value ? "0" : compact(one.value));
    const classOf = (i: number): string => {
      const anchor = i === one.at && one.group !== "random" ? " ng-anchor" : "";
      const effect = effects && i >= one.lead ? effectClass(one.effect?.[i - one.lead], largest) : "";
      return ` ${shade(one.values[i] ?? NaN, domain, signed).name}${kindClass(one.kinds[i])}${anchor}${effect}`;
    };
    return { pieces: one.pieces, from, to, home: one.at, head, label: `value ${compact(one.value)}`, classOf };
  }

  /** One scale of effects for all that are loaded, so that colours can be compared. */
  #effectScale(): Excerpt[] {
    return this.#ranged ? this.#ranged.examples : this.#loaded;
  }

  /** Says how far a search has come. */
  progress(text: string): void {
    const first = this.#said.firstElementChild as HTMLElement | null;
    if (first && !this.#said.hidden) setText(first, text);
  }
}
