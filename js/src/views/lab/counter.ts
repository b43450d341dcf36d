/**
 * Counterexamples: windows of the corpus on which the explanation is most wrong, and a text of the person's. In: their real
 * and simulated values. Out: `search`, and `typed` with the text.
 */
import { button, h, setText } from "../../core/dom.js";
import { TextBox } from "../../core/text-box.js";
import { Overlay, type Pointed } from "./overlay.js";
import { type Said, type Window, scalesOf } from "./picture.js";

export interface CounterActions {
  search: () => void;
  typed: (text: string) => void;
  point: (at: Pointed | null, token: Element | null, byKey: boolean) => void;
}

const ATTACH = "Counterexamples, revision, your own texts and scores by effect need the model: view.attach(store.attach(model)).";
const NAMES: Record<string, string> = { own: "Your text", counterexample: "Found in the corpus" };

export class Counter {
  readonly element: HTMLElement;
  readonly #search: HTMLButtonElement;
  readonly #box: TextBox;
  readonly #overlay: Overlay;
  readonly #tools: HTMLElement;
  readonly #attach = h("p", { class: "ng-quiet" }, ATTACH);
  readonly #failure = h("p", { class: "ng-failure", role: "alert", hidden: true });
  readonly #stale = h("p", { class: "ng-quiet", hidden: true }, "Not simulated: this simulator is asked about the held-out windows only.");

  constructor(actions: CounterActions) {
    this.#search = button("Search the corpus", { class: "ng-button", title: "read 200 windows at random of documents that test nothing, and show those on which the explanation is most wrong" }, actions.search);
    this.#box = new TextBox("a text of your own", "Type a text on which it may be wrong.", actions.typed);
    this.#overlay = new Overlay("counterexamples", actions.point);
    this.#tools = h("div", { class: "ng-lab-own" }, this.#box.element, this.#search);
    this.element = h("section", { class: "ng-lab-counter", "aria-label": "counterexamples" }, h("h4", {}, "Counterexamples"), this.#tools, this.#attach, this.#failure, this.#stale, this.#overlay.element);
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

  show(windows: readonly Window[], said: readonly Said[], bench: { largest: number; signed: boolean; scale: "one" | "own"; threshold: number }, on: { live: boolean; attached: boolean; possible: boolean }): void {
    this.#tools.hidden = !on.live || !on.attached || !on.possible;
    this.#attach.hidden = on.attached || !on.live;
    this.#overlay.element.hidden = windows.length === 0;
    this.element.hidden = !on.live && windows.length === 0;
    this.#stale.hidden = windows.length === 0 || said.some(({ values, why }) => values !== null || why !== "");
    const scales = scalesOf(windows, said, bench.largest, bench.scale);
    const heading = (group: string): Node => h("h5", { role: "presentation" }, NAMES[group] ?? "From the windows that explain");
    this.#overlay.show({ windows, said, scales, signed: bench.signed, edge: bench.threshold * bench.largest, context: 0, chosen: () => true, heading });
  }

  busy(running: boolean): void {
    this.#search.disabled = running;
  }

  fail(message: string): void {
    this.#failure.hidden = message === "";
    setText(this.#failure, message);
  }
}
