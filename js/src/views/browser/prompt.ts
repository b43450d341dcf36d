/**
 * Search by a prompt: a text, its tokens as they are typed, and which of them count. In: pieces from the kernel. Out:
 * `typed` with every text, `changed` when the search is another one. Click or Enter chooses a token or lets it go; with
 * Shift, all from the last one on. None chosen: all count.
 */
import { button, focusable, h, setText } from "../../core/dom.js";
import { quoted } from "../../core/format.js";
import { Strip } from "../../core/strip.js";
import { TextBox } from "../../core/text-box.js";
import { TokenPointer } from "../../core/token-pointer.js";
import type { Query, WirePrompt } from "./synced.js";

const PAUSE = 200; // ms
export type PromptQuery = Pick<Query, "prompt" | "tokens" | "by" | "bos">;

export interface PromptActions {
  typed: (text: string) => void; // asks for its tokens
  changed: (query: PromptQuery) => void;
  say: (text: string) => void;
}

export class PromptSearch {
  readonly element: HTMLElement;
  readonly #text: TextBox;
  readonly #strip: Strip;
  readonly #pointer: TokenPointer;
  readonly #by = focusable(h("select", { "aria-label": "value over the chosen tokens" }, h("option", { value: "max" }, "largest value"), h("option", { value: "sum" }, "sum of values")));
  readonly #bos = focusable(h("input", { type: "checkbox", checked: true }));
  readonly #which = h("span", { class: "ng-which ng-quiet" });
  readonly #needs = h("p", { class: "ng-needs" }, "This needs the live model. Attach a model: ", h("code", {}, "store.attach(model)"), ", then ", h("code", {}, "view.attach(store)"), ".");
  readonly #live: HTMLElement;
  #tokens: WirePrompt = { pieces: [], kinds: [], bos: false };
  #chosen = new Set<number>();
  #last = 0;
  #shift = false;
  #typed: string | null = null; // a text that is not answered yet
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly actions: PromptActions,
    signal: AbortSignal,
  ) {
    this.#text = new TextBox("prompt", "A text: which features fire on it?", (text) => {
      this.#typed = text;
      this.#chosen.clear();
      actions.typed(text);
      this.#soon();
    });
    this.#strip = new Strip(signal);
    this.#strip.element.setAttribute("aria-label", "tokens of the prompt; chosen ones count");
    this.#strip.element.setAttribute("aria-multiselectable", "true");
    for (const kind of ["pointerdown", "keydown"] as const) {
      this.#strip.element.addEventListener(kind, (event) => (this.#shift = event.shiftKey), { capture: true });
    }
    this.#pointer = new TokenPointer(this.#strip, {
      point: (i, _, byKey) => {
        if (byKey && i !== null) actions.say(`${quoted(this.#tokens.pieces[i] ?? "")}${this.#chosen.has(i) ? ", chosen" : ""}`);
      },
      pick: (i) => this.#pick(i),
    });
    for (const input of [this.#by, this.#bos]) input.addEventListener("change", () => this.#tell());
    this.#live = h(
      "div",
      {},
      this.#text.element,
      this.#strip.element,
      h(
        "div",
        { class: "ng-controls" },
        h("label", { class: "ng-field" }, h("span", { class: "ng-name" }, "ranked by"), this.#by),
        h("label", { class: "ng-field", title: "a BOS token does not count; the range of density above leaves out what is on everywhere" }, this.#bos, h("span", { class: "ng-name" }, "leave BOS out")),
        this.#which,
        button("Clear", { class: "ng-button" }, () => {
          this.#text.value = this.#typed = "";
          this.#chosen.clear();
          this.actions.typed("");
          this.#tell();
        }),
      ),
    );
    this.element = h("details", { class: "ng-by-prompt" }, focusable(h("summary", {}, "Search by a prompt")), this.#needs, this.#live);
    signal.addEventListener("abort", () => clearTimeout(this.#timer));
  }

  /** The search that is shown now; what a person is typing is let be. */
  show(query: PromptQuery, told: WirePrompt | null, attached: boolean): void {
    this.#needs.hidden = attached;
    this.#live.hidden = !attached;
    if (query.prompt) (this.element as HTMLDetailsElement).open = true;
    if (this.#typed === (query.prompt ?? "")) this.#typed = null;
    if (this.#typed === null && !this.#text.composing) {
      this.#text.value = query.prompt ?? "";
      this.#by.value = query.by ?? "max";
      this.#bos.checked = !query.bos;
    }
    if (this.#text.value === (query.prompt ?? "")) {
      this.#chosen = new Set(query.tokens ?? []);
      this.tokens(told ?? { pieces: [], kinds: [], bos: false });
    }
  }

  /** The tokens of the text as it is now. */
  tokens(told: WirePrompt): void {
    this.#tokens = told;
    this.#strip.element.hidden = told.pieces.length === 0;
    this.#strip.update(told.pieces, (i) => {
      const kind = ["", " ng-raw", " ng-special"][told.kinds[i] ?? 0] ?? "";
      return `${kind}${this.#chosen.has(i) ? " ng-sel" : ""}${this.#pointer.classOf(i)}`;
    });
    const n = this.#chosen.size;
    const out = told.bos && this.#bos.checked && this.#chosen.has(0) ? "; BOS is left out" : "";
    setText(this.#which, told.pieces.length === 0 ? "" : n ? `${n} of ${told.pieces.length} tokens chosen${out}` : "all tokens count; click to choose some");
  }

  #pick(i: number): void {
    const last = Math.min(this.#last, this.#tokens.pieces.length - 1);
    if (this.#shift) for (let k = Math.min(i, last); k <= Math.max(i, last); k++) this.#chosen.add(k);
    else if (!this.#chosen.delete(i)) this.#chosen.add(i);
    this.#last = i;
    this.actions.say(`${quoted(this.#tokens.pieces[i] ?? "")} ${this.#chosen.has(i) ? "chosen" : "let go"}`);
    this.tokens(this.#tokens);
    this.#soon();
  }

  #soon(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#tell(), PAUSE);
  }

  #tell(): void {
    clearTimeout(this.#timer);
    const prompt = this.#text.value;
    if (prompt === "") {
      this.actions.changed({});
      return;
    }
    this.actions.changed({
      prompt,
      ...(this.#chosen.size && { tokens: [...this.#chosen].sort((a, b) => a - b) }),
      ...(this.#by.value === "sum" && { by: "sum" }),
      ...(!this.#bos.checked && { bos: true }),
    });
  }
}
