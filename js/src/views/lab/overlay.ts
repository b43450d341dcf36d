/**
 * Windows of text: of every token the real activation above and the simulated one below it, misses and false alarms marked
 * by a line of their own. In: windows, what was simulated, scales and threshold. Out: pointing at tokens. An edit swaps
 * classes; the text is drawn anew only where other tokens come into view.
 */
import { shade } from "../../core/colour.js";
import { h } from "../../core/dom.js";
import { ExcerptList, type Line, kindClass } from "../../core/excerpt-list.js";
import { compact } from "../../core/format.js";
import { lowerClass } from "./halves.js";
import { type Said, type Verdict, type Window, around, homeOf, markOf, verdictOf } from "./picture.js";

export interface Drawn {
  windows: readonly Window[];
  said: readonly Said[];
  scales: { real: number; said: number };
  signed: boolean;
  edge: number;
  context: number;
  chosen: (window: Window, verdict: Verdict) => boolean;
  /** What else there is to say of a window. */
  notes?: (k: number) => { text: string; title: string }[];
  /** What stands above the windows of a group; groups follow each other. */
  heading: (group: string, windows: number, shown: number) => Node | null;
}

export interface Pointed {
  window: Window;
  said: Said;
  i: number;
}

export class Overlay {
  readonly element: HTMLElement;
  readonly #list: ExcerptList;
  #shape = "";
  #heads: HTMLElement[] = [];
  #lines: number[] = []; // which window each line is
  #drawn: Drawn | null = null;

  constructor(label: string, point: (at: Pointed | null, token: Element | null, byKey: boolean) => void) {
    this.#list = new ExcerptList(label, (k, i, token, byKey) => {
      const drawn = this.#drawn;
      const index = k === null ? -1 : (this.#lines[k] ?? -1);
      const [window, said] = [drawn?.windows[index], drawn?.said[index]];
      point(window && said ? { window, said, i } : null, token, byKey);
    });
    this.element = this.#list.element;
  }

  show(drawn: Drawn): void {
    const before = this.#drawn;
    this.#drawn = drawn;
    const { windows, said, edge, context } = drawn;
    const verdicts = windows.map((window, k) => verdictOf(window, said[k] ?? NOTHING, edge));
    const chosen = windows.flatMap((window, k) => (drawn.chosen(window, verdicts[k] ?? NONE) ? [k] : []));
    const cuts = chosen.map((k) => around(homeOf(windows[k] ?? EMPTY, said[k] ?? NOTHING), context, windows[k]?.pieces.length ?? 0));
    const shape = JSON.stringify([chosen, cuts]);
    if (shape === this.#shape && before?.windows === windows) {
      this.#heads.forEach((head, j) => this.#fillHead(head, chosen[j] ?? 0, cuts[j] ?? [0, 0], verdicts));
      this.#list.repaint();
      return;
    }
    this.#shape = shape;
    this.#lines = chosen;
    this.#heads = chosen.map(() => h("div", { class: "ng-lab-head" }));
    const parts: (Line | Node)[] = [];
    let group = "";
    chosen.forEach((k, j) => {
      const window = windows[k] ?? EMPTY;
      const kind = groupOf(window.group);
      if (kind !== group) {
        const all = windows.filter((w) => groupOf(w.group) === kind).length;
        const heading = drawn.heading(kind, all, chosen.filter((c) => groupOf(windows[c]?.group ?? "") === kind).length);
        if (heading) parts.push(heading);
        group = kind;
      }
      const head = this.#heads[j] ?? h("div");
      const [from, to] = cuts[j] ?? [0, 0];
      this.#fillHead(head, k, [from, to], verdicts);
      parts.push({ pieces: window.pieces, from, to, home: homeOf(window, said[k] ?? NOTHING), head, label: `window ${k + 1}`, classOf: (i) => this.#classOf(k, i) });
    });
    if (!chosen.length && windows.length) parts.push(h("p", { class: "ng-empty", role: "presentation" }, "No window of this kind."));
    this.#list.show(parts);
  }

  #classOf(k: number, i: number): string {
    const drawn = this.#drawn;
    const window = drawn?.windows[k];
    if (!drawn || !window) return "";
    const { scales, signed, edge } = drawn;
    const real = window.real[i] ?? NaN;
    const values = drawn.said[k]?.values;
    const value = values?.[i] ?? 0;
    const mark = values ? markOf(real, value, edge) : "";
    const lower = mark === "miss" ? " ng-miss" : lowerClass(value, scales.said);
    return ` ${shade(real, [signed ? -scales.real : 0, scales.real], signed).name}${kindClass(window.kinds[i])}${lower}${mark === "alarm" ? " ng-alarm" : ""}`;
  }

  /** The largest value of either half, and what went wrong. */
  #fillHead(head: HTMLElement, k: number, [from, to]: readonly [number, number], verdicts: readonly Verdict[]): void {
    const drawn = this.#drawn;
    const [window, said, verdict] = [drawn?.windows[k], drawn?.said[k], verdicts[k]];
    if (!drawn || !window || !said || !verdict) return;
    head.title = `${window.document < 0 ? "of no corpus" : `document ${window.document}, token ${window.start}`} · largest real and simulated value of the window`;
    const numbers = h("span", { class: "ng-lab-peaks" }, h("span", {}, compact(verdict.real)), h("span", { class: "ng-quiet" }, said.values ? compact(verdict.said ?? 0) : "–"));
    const told: string[] = [];
    if (said.why) told.push("not simulated");
    if (verdict.misses) told.push(`${verdict.misses} missed`);
    if (verdict.alarms) told.push(`${verdict.alarms} false`);
    const seen = said.values ? tally(window, said, drawn.edge, from, to) : verdict.misses + verdict.alarms;
    const hidden = verdict.misses + verdict.alarms - seen;
    if (hidden) told.push(`${hidden} out of view`);
    const note = h("span", { class: said.why ? "ng-failure" : "ng-lab-told", title: said.why || "misses and false alarms" }, ...told.flatMap((text, j) => [j ? " · " : "", h("span", {}, text)]));
    const more = drawn.notes?.(k) ?? [];
    head.replaceChildren(numbers, note, ...more.map(({ text, title }) => h("span", { class: "ng-lab-told", title }, h("span", {}, text))));
  }
}

const EMPTY: Window = { group: "", document: -1, start: 0, pieces: [], kinds: [], real: new Float64Array() };
const NOTHING: Said = { values: null, why: "" };
const NONE: Verdict = { real: 0, said: null, hits: 0, misses: 0, alarms: 0 };

/** How many marks are in the stretch that is shown. */
function tally({ real }: Window, { values }: Said, edge: number, from: number, to: number): number {
  let n = 0;
  for (let i = from; i < to; i++) if (markOf(real[i] ?? 0, values?.[i] ?? 0, edge)) n++;
  return n;
}

export const groupOf = (group: string): string => (group === "random" || group === "own" || group === "counterexample" ? group : "strong");
