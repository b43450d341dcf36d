/**
 * The heads of a store, layer by head, to go from one to another. In: which there are, and which is shown. Out: an element:
 * one tab stop, arrow keys; and calls. A head that was not harvested has an empty place.
 */
import { shade } from "../../core/colour.js";
import { focusable, h } from "../../core/dom.js";
import type { WireHead } from "./synced.js";
import { gridNote } from "./words.js";

export class Heads {
  readonly element = focusable(h("div", { class: "ng-heads", role: "grid", tabindex: 0, "aria-label": "heads: a row per layer, a column per head; coloured by their largest value" }));
  #cells: HTMLElement[][] = [];
  #cursor: [number, number] = [0, 0];
  #frame: WireHead | null = null;

  constructor(
    private readonly name: string,
    private readonly go: (head: [number, number]) => void,
    private readonly say: (text: string) => void,
  ) {
    this.element.addEventListener("click", ({ target }) => {
      const cell = target instanceof Element ? target.closest<HTMLElement>(".ng-head-cell") : null;
      if (cell) this.#choose(Number(cell.dataset.layer), Number(cell.dataset.head));
    });
    this.element.addEventListener("keydown", (event) => this.#key(event));
    this.element.addEventListener("blur", () => this.#mark(false));
  }

  show(frame: WireHead): void {
    this.#frame = frame;
    const layers = frame.size?.[0] ?? Math.max(...frame.heads.map(([layer]) => layer)) + 1;
    const heads = frame.size?.[1] ?? Math.max(...frame.heads.map(([, head]) => head)) + 1;
    const have = new Map(frame.heads.map(([layer, head, value]) => [`${layer} ${head}`, value]));
    const most = Math.max(...frame.heads.map(([, , value]) => value ?? 0), 1e-9);
    // layers without any head of the store are left out, from the end inwards
    const used = Array.from({ length: layers }, (_, layer) => layer).filter((layer) => layers <= 8 || frame.heads.some(([l]) => l === layer));
    this.#cells = [];
    this.element.replaceChildren(
      ...used.map((layer) => {
        const cells = Array.from({ length: heads }, (_, head) => {
          const value = have.get(`${layer} ${head}`);
          const here = frame.head[0] === layer && frame.head[1] === head;
          const colour = value === undefined ? "ng-none" : shade(value ?? 0, [0, most], false).name;
          return h("span", {
            class: `ng-head-cell ${colour}${here ? " ng-sel" : ""}`, role: "gridcell", "aria-selected": here ? "true" : null, "aria-disabled": value === undefined ? "true" : null,
            "data-layer": layer, "data-head": head, "data-i": head, title: gridNote(frame, layer, head),
          }, String(head));
        });
        this.#cells.push(cells);
        return h("div", { class: "ng-heads-row", role: "row" }, h("span", { class: "ng-heads-layer", role: "rowheader" }, String(layer)), ...cells);
      }),
    );
    this.#cursor = [Math.max(0, used.indexOf(frame.head[0])), frame.head[1]];
    this.#reveal();
    this.#mark(document.activeElement === this.element);
  }

  /** Scrolls the cursor's cell into the grid's own window; the page stays where it is. */
  #reveal(): void {
    const cell = this.#cells[this.#cursor[0]]?.[this.#cursor[1]];
    const port = this.element.getBoundingClientRect();
    const box = cell?.getBoundingClientRect();
    if (!box) return;
    if (box.bottom > port.bottom) this.element.scrollTop += box.bottom - port.bottom + 8;
    else if (box.top < port.top) this.element.scrollTop += box.top - port.top - 8;
    if (box.right > port.right) this.element.scrollLeft += box.right - port.right + 8;
    else if (box.left < port.left) this.element.scrollLeft += box.left - port.left - 8;
  }

  #choose(layer: number, head: number): void {
    if (this.#frame?.heads.some(([l, k]) => l === layer && k === head)) this.go([layer, head]);
    else if (this.#frame) this.say(gridNote(this.#frame, layer, head));
  }

  #mark(on: boolean): void {
    for (const cell of this.#cells.flat()) {
      cell.classList.remove("ng-cur");
      cell.removeAttribute("id");
    }
    const cell = this.#cells[this.#cursor[0]]?.[this.#cursor[1]];
    if (!on || !cell) {
      this.element.removeAttribute("aria-activedescendant");
      return;
    }
    cell.classList.add("ng-cur");
    this.#reveal();
    cell.id = `${this.name}-head`;
    this.element.setAttribute("aria-activedescendant", cell.id);
    this.say(cell.title);
  }

  #key(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const [row, column] = this.#cursor;
    const [rows, columns] = [this.#cells.length, this.#cells[0]?.length ?? 0];
    const goal = { ArrowLeft: [row, column - 1], ArrowRight: [row, column + 1], ArrowUp: [row - 1, column], ArrowDown: [row + 1, column], Home: [row, 0], End: [row, columns - 1] }[event.key];
    if (goal) {
      this.#cursor = [Math.max(0, Math.min(rows - 1, goal[0] ?? 0)), Math.max(0, Math.min(columns - 1, goal[1] ?? 0))];
      this.#mark(true);
    } else if (event.key === "Enter" || event.key === " ") {
      const cell = this.#cells[row]?.[column];
      if (cell) this.#choose(Number(cell.dataset.layer), Number(cell.dataset.head));
    } else if (event.key === "Escape") this.#mark(false);
    else return;
    event.preventDefault();
  }
}
