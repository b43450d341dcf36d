/**
 * A strip of tokens, up to 100,000 of them. In: display pieces and a function that gives each token its classes. Out:
 * one DOM text node per token in blocks of about 400; only the blocks near the visible part are filled (told by an
 * IntersectionObserver, and while scrolling at once, so that none is seen empty), the others are placeholders of
 * estimated or remembered height. A new call of `update` reuses every span, so a change of values swaps classes and
 * nothing else. White space is marked by generated content (`data-ws`), which is not part of the text: what is copied
 * is what the model read. Tokens are plain inline text, so words break and scripts run as in any text: the direction
 * of each line comes from the line.
 */
import { focusable, h } from "./dom.js";

const BLOCK = 400;
const MARGIN = 600; // px beyond the visible part
/** Letters of scripts that run from right to left. */
const FROM_RIGHT = /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]/;
/** Letters that change their form beside one another: no gap between their tokens. */
const JOINED = /\p{Script=Arabic}|\p{Script=Syriac}|\p{Script=Mongolian}|\p{Script=Devanagari}|\p{Script=Bengali}|\p{Script=Tamil}/u;
/** Text whose first letter is written from right to left. */
export const RTL = /^[^\p{L}]*[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]/u;

interface Block {
  element: HTMLElement;
  from: number;
  to: number;
  mounted: boolean;
}

/** The overlay that makes a token's white space visible; "" where there is none to mark. */
export function whitespaceMarks(piece: string): string {
  if (!/\s/.test(piece)) return "";
  const ascii = /^[\x20-\x7e\t\n]*$/.test(piece);
  const marked = ascii ? piece.replace(/\n[^]*$/, (rest) => /^\n+/.exec(rest)?.[0] ?? "") : /^[ \t\n]*/.exec(piece)?.[0] ?? "";
  // behind text only the break is marked: its mark stands on the paper, in the paper's ink
  return marked
    .replace(/\S.*\n/.test(piece) ? /[^\n]/g : /\S/g, "\u00a0")
    .replace(/ /g, "·")
    .replace(/\n/g, "⏎")
    .replace(/\t/g, "⇥\t")
    .trimEnd();
}

/** A name for a token that shows no letters; "" where its text is its name. */
export function spokenSpace(piece: string): string {
  if (piece === "") return "empty";
  if (/\S/.test(piece)) return "";
  const runs = piece.match(/ +|\t+|\n+|[^ \t\n]+/g) ?? [];
  return runs
    .map((run) => {
      const what = { " ": "space", "\t": "tab", "\n": "line break" }[run[0] ?? ""] ?? "white space";
      return run.length === 1 ? what : `${run.length} ${what}s`;
    })
    .join(", ");
}

/** Gives an element a token's text, the marks of its white space, and a name where it shows no letters. */
export function dress(token: HTMLElement, piece: string): void {
  token.textContent = piece;
  const marks = whitespaceMarks(piece);
  if (marks) token.dataset.ws = marks;
  else delete token.dataset.ws;
  const name = spokenSpace(piece);
  if (name) token.setAttribute("aria-label", name);
  else token.removeAttribute("aria-label");
}

/** The classes that a token has by its letters alone. */
export function shapeOf(piece: string): string {
  let shape = piece.includes("\n") ? (piece.startsWith("\n") ? " ng-nl ng-nl0" : " ng-nl") : piece === "" ? " ng-void" : "";
  if (FROM_RIGHT.test(piece)) shape += " ng-rtl";
  if (JOINED.test(piece)) shape += " ng-joined";
  return shape;
}

/** Blocks of about 400 tokens; a block ends at a line break or between words where one is near. */
export function cutBlocks(pieces: readonly string[]): number[] {
  const ends: number[] = [];
  let from = 0;
  while (pieces.length - from > BLOCK * 1.25) {
    const candidates = Array.from({ length: BLOCK / 4 }, (_, k) => from + BLOCK - k);
    const end =
      candidates.find((i) => pieces[i - 1]?.endsWith("\n")) ??
      candidates.find((i) => /^\s/.test(pieces[i] ?? "")) ??
      from + BLOCK;
    ends.push(end);
    from = end;
  }
  ends.push(pieces.length);
  return ends;
}

export class Strip {
  readonly element: HTMLElement;
  /** How the text begins: which way the arrow keys go. Each line is laid out by its own letters. */
  direction: "ltr" | "rtl" = "ltr";
  #pieces: readonly string[] = [];
  #classOf: (i: number) => string = () => "";
  #blocks: Block[] = [];
  readonly #observer: IntersectionObserver | null;

  constructor(signal: AbortSignal, scrolled: () => void = () => undefined) {
    this.element = focusable(h("div", { class: "ng-tokens", role: "listbox", tabindex: -1, dir: "ltr" }));
    this.#observer =
      typeof IntersectionObserver === "function"
        ? new IntersectionObserver(
            (entries) => {
              for (const entry of entries) this.#seen(entry.target, entry.isIntersecting);
            },
            { root: this.element, rootMargin: `${MARGIN}px 0px` },
          )
        : null;
    signal.addEventListener("abort", () => this.#observer?.disconnect());
    // a scroll event comes before its frame is painted, an observer's call after
    const follow = (): void => {
      if (this.#observer) this.#fillVisible();
      scrolled();
    };
    this.element.addEventListener("scroll", follow, { signal, passive: true });
  }

  get length(): number {
    return this.#pieces.length;
  }

  update(pieces: readonly string[], classOf: (i: number) => string): void {
    const same = pieces.length === this.#pieces.length && pieces.every((piece, i) => piece === this.#pieces[i]);
    this.#pieces = pieces;
    this.#classOf = classOf;
    this.direction = RTL.test(pieces.slice(0, 64).join("")) ? "rtl" : "ltr";
    if (this.element.dataset.direction !== this.direction) this.element.dataset.direction = this.direction;
    const name = pieces.length ? "ng-tokens" : "ng-tokens ng-none";
    if (this.element.className !== name) this.element.className = name;
    const ends = pieces.length ? cutBlocks(pieces) : [];
    while (this.#blocks.length > ends.length) {
      const last = this.#blocks.pop();
      if (last) this.#observer?.unobserve(last.element);
      last?.element.remove();
    }
    ends.forEach((to, k) => {
      const from = ends[k - 1] ?? 0;
      let block = this.#blocks[k];
      if (!block) {
        block = { element: h("div", { class: "ng-block", role: "none" }), from, to, mounted: k === 0 || !this.#observer };
        this.#blocks.push(block);
        this.element.append(block.element);
        if (ends.length > 1 || k > 0) this.#observer?.observe(block.element);
      }
      block.from = from;
      block.to = to;
      if (block.mounted) this.#fill(block);
      else if (!same) this.#empty(block, this.#estimate(block)); // else its height is remembered
    });
    // a strip that grew beyond one block: its first block may now be scrolled away
    if (ends.length > 1 && this.#blocks[0]) this.#observer?.observe(this.#blocks[0].element);
  }

  /** New classes for one token, or for all. */
  repaint(only?: number): void {
    if (only !== undefined) {
      const token = this.token(only);
      if (token) this.#paint(token, only);
      return;
    }
    for (const block of this.#blocks) if (block.mounted) this.#fill(block);
  }

  /** The element of a token, if its block is filled. */
  token(i: number): HTMLElement | null {
    const block = this.#blocks.find(({ from, to }) => i >= from && i < to);
    return block?.mounted ? (block.element.children[i - block.from] as HTMLElement | undefined) ?? null : null;
  }

  /** The element of a token, filled if need be and scrolled into view. */
  reveal(i: number, where: "nearest" | "start" = "nearest"): HTMLElement | null {
    const block = this.#blocks.find(({ from, to }) => i >= from && i < to);
    if (block && !block.mounted) this.#fill(block);
    const token = this.token(i);
    if (where === "start" && token) {
      // its own strip only: the page stays where it is
      this.element.scrollTop += token.getBoundingClientRect().top - this.element.getBoundingClientRect().top;
    } else {
      token?.scrollIntoView({ block: "nearest" });
    }
    return token;
  }

  dispose(): void {
    this.#observer?.disconnect();
    this.element.remove();
  }

  /** The tokens between the upper and the lower edge of what is visible, as blocks have them. */
  get visible(): [from: number, to: number] {
    const [first, last] = this.#span(0);
    return [this.#blocks[first]?.from ?? 0, this.#blocks[last]?.to ?? 0];
  }

  /** The first and last block that reach into the visible part, widened by `margin` px. */
  #span(margin: number): [first: number, last: number] {
    const { scrollTop, clientHeight } = this.element;
    const at = (top: number): number => {
      let [low, high] = [0, this.#blocks.length - 1];
      while (low < high) {
        const middle = (low + high + 1) >> 1;
        if ((this.#blocks[middle]?.element.offsetTop ?? 0) <= top) low = middle;
        else high = middle - 1;
      }
      return low;
    };
    return [at(scrollTop - margin), at(scrollTop + clientHeight + margin)];
  }

  #fillVisible(): void {
    const [first, last] = this.#span(MARGIN / 2);
    for (const block of this.#blocks.slice(first, last + 1)) if (!block.mounted) this.#fill(block);
  }

  #seen(target: Element, visible: boolean): void {
    const block = this.#blocks.find(({ element }) => element === target);
    if (!block || block.mounted === visible) return;
    if (visible) this.#fill(block);
    else this.#empty(block, block.element.offsetHeight || this.#estimate(block));
  }

  #empty(block: Block, height: number): void {
    block.mounted = false;
    block.element.replaceChildren();
    block.element.style.height = `${height}px`;
  }

  #fill(block: Block): void {
    const { element, from, to } = block;
    block.mounted = true;
    element.style.height = "";
    while (element.children.length > to - from) element.lastElementChild?.remove();
    for (let i = from; i < to; i++) {
      const existing = element.children[i - from] as HTMLElement | undefined;
      const token = existing ?? document.createElement("span");
      const piece = this.#pieces[i] ?? "";
      if (!existing) {
        token.setAttribute("role", "option");
      }
      if (token.dataset.i !== String(i)) token.dataset.i = String(i);
      if (!existing || token.textContent !== piece) dress(token, piece);
      this.#paint(token, i);
      if (!existing) element.append(token);
    }
  }

  #paint(token: HTMLElement, i: number): void {
    const name = `ng-tok${shapeOf(this.#pieces[i] ?? "")}${this.#classOf(i)}`;
    if (token.className === name) return;
    token.className = name;
    if (token.classList.contains("ng-sel")) token.setAttribute("aria-selected", "true");
    else token.removeAttribute("aria-selected");
  }

  /** A height from the number of characters and the width, good enough for a scroll bar. */
  #estimate({ from, to }: Block): number {
    let characters = 0;
    let breaks = 0;
    for (let i = from; i < to; i++) {
      const piece = this.#pieces[i] ?? "";
      characters += piece.length + 0.2;
      if (piece.includes("\n")) breaks++;
    }
    const perLine = Math.max(20, (this.element.clientWidth || 760) / 8.5);
    return Math.ceil(characters / perLine + breaks / 2) * 24;
  }
}
