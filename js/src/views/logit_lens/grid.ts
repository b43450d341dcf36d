/**
 * The grid of predictions: rows are layers, the last one on top, columns are tokens. In: a picture, what it is coloured
 * by, the selected cell. Out: cells of text nodes, of which only the columns near the visible part exist, and calls for
 * what a person does to a cell (point at it, move to it, pin it). Columns are of one width, so where they are is
 * arithmetic. One listener each serves all cells; the grid is one tab stop.
 */
import { focusable, h } from "../../core/dom.js";
import { visible } from "../../core/format.js";
import { RTL } from "../../core/strip.js";
import { type Picture, classOf, pieceAt } from "./picture.js";
import type { Place } from "../../core/selection.js";
import type { Traits } from "./synced.js";

const COLUMN = 70; // px; style.css has the same widths
const LABEL = 56;
const AHEAD = 8; // columns mounted on either side of the visible ones

export interface GridActions {
  point: (place: Place | null, cell: Element | null) => void; // the pointer is on a cell, or left
  move: (place: Place, cell: Element) => void; // the keyboard came to a cell
  scrolled: () => void; // what is pointed at has moved
  pin: (place: Place) => void; // click or Enter
  escape: () => void;
}

const same = (a: Place | null, b: Place | null): boolean => a?.[0] === b?.[0] && a?.[1] === b?.[1];

export class Grid {
  readonly element: HTMLElement;
  readonly #body = h("div", { class: "ng-lens-body", role: "none" });
  #picture: Picture | null = null;
  #by: Traits["colour_by"] = "probability";
  #rows: HTMLElement[] = []; // the header, then the sites from the last to the first
  #from = 0;
  #to = 0;
  #selected: Place | null = null;
  #cursor: Place = [0, 0];
  #keyboard = false; // the cursor is drawn only for the keyboard

  constructor(
    private readonly name: string,
    private readonly actions: GridActions,
    signal: AbortSignal,
  ) {
    const label = "likeliest next token: a row per layer, the last on top; a column per token";
    const element = (this.element = focusable(h("div", { class: "ng-lens", role: "grid", tabindex: 0, "aria-label": label }, this.#body)));
    const at = (target: EventTarget | null): HTMLElement | null =>
      target instanceof Element ? target.closest<HTMLElement>(".ng-cell") : null;
    element.addEventListener("scroll", () => {
      this.#fill();
      actions.scrolled();
    });
    element.addEventListener("pointerover", ({ target }) => {
      const cell = at(target);
      actions.point(cell && this.#placeOf(cell), cell);
    });
    element.addEventListener("pointerleave", () => actions.point(null, null));
    element.addEventListener("click", ({ target }) => {
      const cell = at(target);
      if (!cell) return;
      this.#keyboard = false;
      this.#cursor = this.#placeOf(cell);
      this.#paint();
      actions.pin(this.#cursor);
    });
    element.addEventListener("keydown", (event) => this.#key(event));
    if (typeof ResizeObserver === "function") {
      const observer = new ResizeObserver(() => this.#fill());
      observer.observe(element);
      signal.addEventListener("abort", () => observer.disconnect());
    }
  }

  draw(picture: Picture | null, by: Traits["colour_by"]): void {
    const before = this.#picture;
    this.#picture = picture?.pieces.length ? picture : null;
    this.#by = by;
    const { element } = this;
    element.hidden = this.#picture === null;
    const [rows, n] = [this.#picture?.sites.length ?? 0, this.#picture?.pieces.length ?? 0];
    element.dir = RTL.test(this.#picture?.pieces.slice(0, 64).join("") ?? "") ? "rtl" : "ltr";
    element.setAttribute("aria-rowcount", String(rows + 1));
    element.setAttribute("aria-colcount", String(n + 1));
    this.#body.style.width = `${LABEL + n * COLUMN}px`;
    if (String(before?.labels) !== String(this.#picture?.labels)) this.#makeRows();
    if (!before) this.#cursor = [rows - 1, 0];
    this.#cursor = [Math.max(0, Math.min(this.#cursor[0], rows - 1)), Math.max(0, Math.min(this.#cursor[1], n - 1))];
    this.#fill(true);
  }

  select(place: Place | null): void {
    if (same(place, this.#selected)) return;
    this.#selected = place;
    if (place && this.#picture && place[1] < this.#picture.pieces.length) {
      this.#cursor = place;
      this.#reveal(place, false);
    }
    this.#paint();
  }

  /** The element of a cell, if its column is mounted. */
  cell([row, i]: Place): HTMLElement | null {
    const line = this.#rows[this.#rows.length - 1 - row];
    const cell = i >= this.#from && i < this.#to ? line?.children[i - this.#from + 2] : undefined;
    return row >= 0 && cell instanceof HTMLElement && cell.classList.contains("ng-cell") ? cell : null;
  }

  /** The element of a cell that can be seen. */
  visible(place: Place): HTMLElement | null {
    const cell = this.cell(place);
    const [box, port] = [cell?.getBoundingClientRect(), this.element.getBoundingClientRect()];
    return box && box.right > port.left && box.left < port.right && box.bottom > port.top && box.top < port.bottom ? cell : null;
  }

  #makeRows(): void {
    const { sites, labels } = this.#picture ?? { sites: [], labels: [] };
    const row = (head: HTMLElement, k: number): HTMLElement =>
      h("div", { class: k ? "ng-lens-row" : "ng-lens-row ng-lens-head", role: "row", "aria-rowindex": k + 1 }, head, h("div", { role: "none" }));
    this.#rows = [row(h("div", { class: "ng-lens-label", role: "columnheader", "aria-colindex": 1 }, "layer"), 0)];
    for (let r = sites.length - 1; r >= 0; r--) {
      const label = h("div", { class: "ng-lens-label", role: "rowheader", "aria-colindex": 1, title: sites[r] }, labels[r]);
      this.#rows.push(row(label, this.#rows.length));
    }
    this.#body.replaceChildren(...this.#rows);
  }

  /** Mounts the columns that can be seen; `all` writes them again even where they are the same ones. */
  #fill(all = false): void {
    const n = this.#picture?.pieces.length ?? 0;
    const width = this.element.clientWidth || 960; // before the cell is shown
    const first = Math.floor(Math.abs(this.element.scrollLeft) / COLUMN);
    // steps of AHEAD, so that most scrolling mounts nothing
    const from = Math.max(0, Math.min(Math.floor(first / AHEAD) * AHEAD - AHEAD, n - 1));
    const to = Math.min(n, Math.ceil((first + width / COLUMN) / AHEAD) * AHEAD + AHEAD);
    if (!all && from === this.#from && to === this.#to) return;
    [this.#from, this.#to] = [from, to];
    this.#rows.forEach((line, k) => {
      const spacer = line.children[1] as HTMLElement;
      spacer.style.width = `${from * COLUMN}px`;
      while (line.children.length > to - from + 2) line.lastElementChild?.remove();
      for (let i = from; i < to; i++) {
        let cell = line.children[i - from + 2] as HTMLElement | undefined;
        if (!cell) line.append((cell = h("div", k ? { class: "ng-cell", role: "gridcell", dir: "auto" } : { class: "ng-read", role: "columnheader", dir: "auto" })));
        this.#write(cell, k, i);
      }
    });
    this.#paint();
  }

  #write(cell: HTMLElement, k: number, i: number): void {
    const picture = this.#picture;
    if (!picture) return;
    const row = this.#rows.length - 1 - k;
    const text = visible(k ? pieceAt(picture, row, i) : picture.pieces[i] ?? "");
    if (cell.textContent !== text) cell.textContent = text;
    cell.setAttribute("aria-colindex", String(i + 2));
    cell.dataset.i = String(i);
    if (k) cell.dataset.row = String(row);
    else cell.title = `${text} · position ${i}`;
  }

  /** Classes, the cursor's name, and what is selected. */
  #paint(): void {
    const picture = this.#picture;
    const id = `${this.name}-cursor`;
    this.element.removeAttribute("aria-activedescendant");
    if (!picture) return;
    this.#rows.forEach((line, k) => {
      for (let i = this.#from; i < this.#to; i++) {
        const cell = line.children[i - this.#from + 2] as HTMLElement;
        const row = this.#rows.length - 1 - k;
        if (k === 0) {
          cell.classList.toggle("ng-here", this.#selected?.[1] === i);
          continue;
        }
        const chosen = same(this.#selected, [row, i]);
        const here = same(this.#cursor, [row, i]);
        const name = `ng-cell${classOf(picture, row, i, this.#by)}${chosen ? " ng-sel" : ""}${here && this.#keyboard ? " ng-cur" : ""}`;
        if (cell.className !== name) cell.className = name;
        cell.setAttribute("aria-selected", String(chosen));
        if (here) {
          cell.id = id;
          this.element.setAttribute("aria-activedescendant", id);
        } else if (cell.id) cell.removeAttribute("id");
      }
    });
  }

  /** Scrolls to a cell, which mounts it; `page` lets the page scroll too. */
  #reveal(place: Place, page: boolean): HTMLElement | null {
    const { element } = this;
    const sign = element.dir === "rtl" ? -1 : 1;
    const [start, width] = [place[1] * COLUMN, (element.clientWidth || 960) - LABEL];
    const now = Math.abs(element.scrollLeft);
    if (start < now) element.scrollLeft = sign * start;
    else if (start + COLUMN > now + width) element.scrollLeft = sign * (start + COLUMN - width);
    this.#fill();
    const cell = this.cell(place);
    if (page) cell?.scrollIntoView({ block: "nearest", inline: "nearest" });
    return cell;
  }

  #placeOf(cell: HTMLElement): Place {
    return [Number(cell.dataset.row), Number(cell.dataset.i)];
  }

  #key(event: KeyboardEvent): void {
    if (event.key === "Escape") this.actions.escape();
    if (!this.#picture || event.ctrlKey || event.metaKey || event.altKey) return;
    const [row, i] = this.#cursor;
    const [rows, n] = [this.#picture.sites.length, this.#picture.pieces.length];
    const forward = this.element.dir === "rtl" ? -1 : 1;
    const goals: Record<string, Place> = {
      ArrowRight: [row, i + forward],
      ArrowLeft: [row, i - forward],
      ArrowUp: [row + 1, i],
      ArrowDown: [row - 1, i],
      Home: [row, 0],
      End: [row, n - 1],
    };
    const goal = goals[event.key];
    if (goal) {
      event.preventDefault();
      this.#keyboard = true;
      this.#cursor = [Math.max(0, Math.min(goal[0], rows - 1)), Math.max(0, Math.min(goal[1], n - 1))];
      const cell = this.#reveal(this.#cursor, true);
      this.#paint();
      if (cell) this.actions.move(this.#cursor, cell);
    } else if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      this.#keyboard = true;
      this.#paint();
      this.actions.pin(this.#cursor);
    }
  }
}
