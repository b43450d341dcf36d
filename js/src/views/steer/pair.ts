/**
 * The two texts side by side, token by token. In: events, which sample, which readout, whether they are still those of the
 * settings shown. Out: two strips with headings and a legend; the first difference and what has no counterpart are marked.
 */
import { type Shade, shade } from "../../core/colour.js";
import { button, h, setText } from "../../core/dom.js";
import { compact, count, quoted } from "../../core/format.js";
import { legendOf } from "../../core/legend.js";
import { Strip } from "../../core/strip.js";
import { TokenPointer } from "../../core/token-pointer.js";
import type { Tooltip } from "../../core/tooltip.js";
import { type Fact, factList, factsAt } from "./panel.js";
import { type Readout, type SideName, scaleOf, textOf, unmatched } from "./texts.js";
import type { WireEvent } from "./wire.js";

const NAMES: Record<SideName, string> = { base: "as it is", steered: "steered" };

interface Half {
  element: HTMLElement;
  head: HTMLElement;
  strip: Strip;
  pointer: TokenPointer;
  shades: Shade[];
  values: number[];
}

export class Pair {
  readonly element: HTMLElement;
  readonly #halves: Record<SideName, Half>;
  readonly #legend = h("span", { class: "ng-legend" });
  readonly #fork = h("span", { class: "ng-fork-said", role: "status" });
  readonly #sample: HTMLElement;
  readonly #which = h("span", { class: "ng-quiet" });
  #events: readonly WireEvent[] = [];
  #readout: Readout | null = null;
  #n = 1;
  sample = 0;

  constructor(
    signal: AbortSignal,
    private readonly tip: Tooltip,
    private readonly say: (text: string) => void,
    private readonly other: () => void, // another sample is looked at
  ) {
    this.#halves = { base: this.#half("base", signal), steered: this.#half("steered", signal) };
    const step = (by: number) => (): void => {
      this.sample = (this.sample + by + this.#n) % this.#n;
      this.other();
    };
    this.#sample = h(
      "span",
      { class: "ng-steps" },
      button("‹", { class: "ng-icon", "aria-label": "previous sample" }, step(-1)),
      this.#which,
      button("›", { class: "ng-icon", "aria-label": "next sample" }, step(1)),
    );
    this.element = h(
      "div",
      { class: "ng-texts" },
      h("div", { class: "ng-texts-head" }, this.#legend, this.#fork, this.#sample),
      h("div", { class: "ng-pair" }, this.#halves.base.element, this.#halves.steered.element),
    );
  }

  #half(side: SideName, signal: AbortSignal): Half {
    const strip = new Strip(signal);
    strip.element.setAttribute("aria-label", `text ${NAMES[side]}`);
    const pointer = new TokenPointer(strip, { point: (i, token, byKey) => this.#point(side, i, token, byKey) });
    const head = h("div", { class: "ng-half-head" });
    return { element: h("div", { class: `ng-half ng-half-${side}` }, head, strip.element), head, strip, pointer, shades: [], values: [] };
  }

  draw(events: readonly WireEvent[], n: number, readout: Readout): void {
    this.#events = events;
    this.#readout = readout;
    this.#n = n;
    this.sample = Math.min(this.sample, n - 1);
    const s = this.sample;
    const [base, steered] = [textOf(events, s, "base"), textOf(events, s, "steered")];
    const fork = events.at(-1)?.divergence[s] ?? null;
    const [left, right] = fork === null ? [new Set<number>(), new Set<number>()] : unmatched(base.ids, steered.ids, fork);
    const values = { base: readout.values(events, s, "base").slice(0, base.ids.length), steered: readout.values(events, s, "steered").slice(0, steered.ids.length) };
    const scale = scaleOf([...values.base, ...values.steered]);
    for (const [side, text, alone] of [["base", base, left], ["steered", steered, right]] as const) {
      const half = this.#halves[side];
      // no value at all is no missing value: such a text has no colours
      const bare = values[side].every(Number.isNaN);
      half.values = values[side];
      half.shades = values[side].map((value) => (bare || Number.isNaN(value) ? { name: "", clipped: false } : shade(value, scale.domain, scale.signed)));
      half.strip.update(text.pieces, (i) => {
        const name = half.shades[i]?.name;
        return `${name ? ` ${name}` : ""}${alone.has(i) ? " ng-changed" : ""}${i === fork ? " ng-fork" : ""}${half.pointer.classOf(i)}`;
      });
      const ended = events.at(-1)?.[side].ended[s] ? " · ended" : "";
      setText(half.head, `${NAMES[side]} · ${count(text.ids.length, "token")}${ended}`);
    }
    this.#legend.replaceChildren(h("span", { title: readout.what }, readout.name), ...(readout.key === "none" ? [] : legendOf({ ...scale, missing: 0 })));
    setText(this.#fork, fork === null ? (events.length ? "no difference yet" : "") : `first difference at token ${fork + 1}`);
    this.#sample.hidden = n < 2;
    setText(this.#which, `sample ${s + 1} of ${n}`);
  }

  /** The texts are of settings before these. */
  set old(old: boolean) {
    this.element.classList.toggle("ng-old", old);
  }

  pieces(strip: Element): readonly string[] | null {
    const side = (["base", "steered"] as const).find((name) => this.#halves[name].strip.element === strip);
    return side ? textOf(this.#events, this.sample, side).pieces : null;
  }

  #point(side: SideName, i: number | null, token: Element | null, byKey: boolean): void {
    const event = i === null ? undefined : this.#events[i];
    if (i === null || !event || !token) {
      this.tip.hide();
      return;
    }
    const half = this.#halves[side];
    const value = half.values[i] ?? NaN;
    const readout: Fact | null = this.#readout && !Number.isNaN(value) ? [this.#readout.name, compact(value), this.#readout.what] : null;
    const facts = factsAt(this.#events, this.sample, side, i, readout);
    const piece = quoted(event[side].pieces[this.sample] ?? "");
    this.tip.show(token, [h("div", { class: "ng-piece" }, piece), h("div", { class: "ng-tip-label" }, `${NAMES[side]}, token ${i + 1}`), factList(facts)]);
    if (byKey) this.say([piece, ...facts.slice(0, 2).map(([name, text]) => `${name} ${text}`)].join(", "));
  }
}
