/**
 * The logit lens: joins the synced state, this view's own state and the parts of the picture on the common shell. In:
 * the model and the element of a cell. Out: an editor, a grid of predictions and a panel about the pinned cell.
 */
import { focusable, h } from "../../core/dom.js";
import { count } from "../../core/format.js";
import type { Mounting } from "../../core/mount.js";
import { type Place, Selection } from "../../core/selection.js";
import { Shell } from "../../core/shell.js";
import { Controls } from "./controls.js";
import { Detail } from "./detail.js";
import { Grid } from "./grid.js";
import { type Picture, cellAt, readFrame } from "./picture.js";
import type { Traits } from "./synced.js";
import { type Draft, createUiState } from "./ui-state.js";
import { spoken, tipOf } from "./words.js";

export class LensView {
  readonly root: HTMLElement;
  readonly #ui = createUiState();
  readonly #shell: Shell<Traits>;
  readonly #controls: Controls;
  readonly #grid: Grid;
  readonly #detail = new Detail(() => this.#deselect());
  readonly #by: HTMLSelectElement;
  readonly #legend = h("span", { class: "ng-legend" });
  readonly #bar: HTMLElement;
  #picture: Picture | null = null;
  readonly #selection: Selection<Traits>;

  constructor(mounting: Mounting<Traits>) {
    const shell = (this.#shell = new Shell(mounting, "logit_lens", "logit lens"));
    this.root = shell.root;
    this.#selection = new Selection(shell, {
      has: (place) => cellAt(this.#picture, ...place) !== null,
      row: () => (this.#picture?.sites.length ?? 1) - 1,
      show: () => this.#showSelection(),
    });
    this.#controls = new Controls(shell.name, {
      text: (text) => this.#run({ text }),
      target: (target) => this.#choose(target),
    });
    this.#grid = new Grid(
      shell.name,
      {
        point: (place, cell) => this.#point(place, cell),
        move: (place, cell) => {
          this.#point(place, cell);
          const found = cellAt(this.#picture, ...place);
          if (found) shell.say(spoken(found));
        },
        scrolled: () => {
          const { hover } = this.#ui;
          if (hover) this.#point(hover, this.#grid.visible(hover));
        },
        pin: (place) => this.#selection.select(this.#selection.is(place) ? null : place),
        escape: () => this.#deselect(),
      },
      mounting.signal,
    );
    this.#by = focusable(
      h("select", { class: "ng-by", "aria-label": "colour by" }, h("option", { value: "probability" }, "probability"), h("option", { value: "rank" }, "rank of the target")),
    );
    this.#by.addEventListener("change", () => {
      shell.synced.write({ colour_by: this.#by.value as Traits["colour_by"] });
      this.#draw();
    });
    this.#bar = h("div", { class: "ng-lens-bar" }, h("label", { class: "ng-field" }, h("span", { class: "ng-name" }, "colour by"), this.#by), this.#legend);
    const part = {
      body: [this.#controls.element, this.#bar, this.#grid.element, this.#detail.element],
      size: () => this.#picture && count(this.#picture.pieces.length, "token"),
      empty: () => {
        if (this.#picture?.pieces.length) return null;
        return shell.live && this.#ui.draft.text === "" ? "Type some text above." : "Nothing to show yet.";
      },
      notice: () => this.#picture?.wire.notice ?? null,
      escape: () => this.#point(null, null),
    };
    shell.open(mounting.el, part, () => {
      this.#showDraft(this.#traits());
      shell.guard(() => this.#showFrame());
      this.#draw();
      this.#controls.element.hidden = !shell.live;
    });
    this.#listen();
  }

  #traits(): Draft {
    const { synced } = this.#shell;
    return { text: synced.get("text"), target: synced.get("target") };
  }

  #listen(): void {
    const shell = this.#shell;
    shell.on(["frame"], () => {
      shell.rpc.alive();
      this.#showFrame();
    });
    shell.on(["text", "target"], () => {
      if (!this.#drafting) this.#showDraft(this.#traits());
    });
    shell.on(["colour_by"], () => this.#draw());
    this.#selection.follow();
    shell.on(["live"], () => {
      this.#controls.element.hidden = !shell.live;
      this.#showSelection();
    });
    this.#detail.element.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.#deselect();
    });
  }

  /** Our own newest text is not answered yet, or still being composed. */
  get #drafting(): boolean {
    return this.#shell.running || this.#controls.composing;
  }

  // --- requests -------------------------------------------------------------------------------------------------

  #run(change: Partial<Draft>): void {
    this.#showDraft({ ...this.#ui.draft, ...change });
    this.#shell.run(this.#ui.draft);
  }

  /** Half a word is no failed run: the kernel is asked first whether this is one token. */
  #choose(target: string): void {
    if (target === "") {
      this.#controls.complain(null);
      this.#run({ target });
      return;
    }
    this.#shell.ask("target", { target }, ({ error }) => {
      if (this.#controls.target !== target) return;
      this.#controls.complain(error ? `${error.message} ${error.hint ?? ""}` : null);
      if (!error) this.#run({ target });
    });
  }

  // --- drawing --------------------------------------------------------------------------------------------------

  #showDraft(draft: Draft): void {
    this.#ui.draft = draft;
    this.#controls.show(draft);
  }

  #showFrame(): void {
    const wire = this.#shell.synced.get("frame");
    this.#shell.frame(wire, (ours) => {
      this.#picture = readFrame(wire);
      if (!ours && !this.#drafting) this.#showDraft({ text: wire.text ?? "", target: wire.target ?? "" });
      this.#controls.resolve(wire.chosen ?? null);
      this.#draw();
    });
  }

  #draw(): void {
    const by = this.#shell.synced.get("colour_by");
    this.#by.value = by;
    this.#bar.hidden = this.#grid.element.hidden = !this.#picture?.pieces.length;
    this.#legend.replaceChildren(...this.#ends(by));
    this.#grid.draw(this.#picture, by);
    const { hover } = this.#ui;
    if (hover) this.#point(hover, this.#grid.cell(hover));
    this.#showSelection();
    this.#shell.show();
  }

  #ends(by: Traits["colour_by"]): Node[] {
    const [low, high, what] =
      by === "probability"
        ? ["0%", "100%", "probability of the likeliest next token, which each cell names"]
        : [(this.#picture?.vocabulary ?? 0).toLocaleString("en-US"), "1", "rank of the target among all tokens, on a logarithmic scale; hatched where nothing comes next"];
    return [
      h("span", { class: "ng-end", title: what }, low),
      h("span", { class: "ng-ramp", title: what }),
      h("span", { class: "ng-end", title: what }, high),
      h("span", { class: "ng-lens-key" }, "each cell: the likeliest next token, ", h("b", { class: "ng-hit" }, "underlined"), " where it is the target"),
    ];
  }

  #showSelection(): void {
    const { place } = this.#selection;
    this.#grid.select(place);
    if (!this.#selection.due(this.#picture)) return;
    const { live } = this.#shell;
    const cell = place && cellAt(this.#picture, ...place);
    if (!place || !cell) {
      this.#detail.hide();
      return;
    }
    this.#detail.show(cell, live);
    if (!live) return;
    this.#shell.ask("detail", { row: place[0], position: place[1] }, (reply) => {
      if (this.#selection.is(place)) this.#detail.answer(reply);
    });
  }

  #deselect(): void {
    this.#point(null, null);
    this.#selection.clear();
  }

  #point(place: Place | null, element: Element | null): void {
    const cell = place && cellAt(this.#picture, ...place);
    this.#ui.hover = cell ? place : null;
    if (cell && element) this.#shell.tip.show(element, tipOf(cell));
    else this.#shell.tip.hide();
  }
}
