/**
 * A table of any number of rows of one height, of which only those near the visible part exist. In: columns that draw
 * their cells, how many rows there are, and a function that gives a row or says that it is not there yet (then `need`
 * is called, and the row stands blank until `refresh`). Out: calls for what a person does. It is a grid of one tab stop:
 * arrows go from cell to cell, the header is the row above the first; Home and End go along a row, Page Up and Down by
 * what is visible, with Ctrl to the first and last row. Row elements are used again, so scrolling makes none.
 */
import { focusable, h } from "./dom.js";

const ROW = 26; // px; core.css has the same
const HEAD = 28;
const AHEAD = 6; // rows mounted on either side of the visible ones
const TALLEST = 12_000_000; // px: browsers lay out no taller element; more rows scroll by a ratio

export interface TableColumn<R> {
  name: string;
  label: string;
  what: string; // its definition
  width: number; // px, the least
  grow?: number; // its part of what room is left
  end?: boolean; // numbers stand at the end
  draw: (row: R) => (Node | string)[];
  say: (row: R) => string; // for screen readers, and the whole where the cell cuts
}

export interface TableData<R> {
  columns: readonly TableColumn<R>[];
  total: number;
  sort: string;
  descending: boolean;
  row: (i: number) => R | null;
  classOf: (row: R) => string; // "ng-sel" is the selected row, "ng-ticked" one that is ticked
  stamp: (row: R) => unknown; // another one: the row's cells say something else
}

export type Pick = "set" | "toggle" | "range";

export interface TableActions {
  need: (from: number, to: number, down: boolean) => void; // rows that are looked at, and where the scrolling goes
  sort: (column: string) => void;
  pick: (i: number, how: Pick) => void;
  moved: (i: number, column: number, sideways: boolean) => void; // the keyboard's cursor; -1 is the header
  key: (event: KeyboardEvent, i: number) => void; // any other key on a row
  escape: () => void;
}

export class Table<R> {
  readonly element: HTMLElement;
  readonly #head = h("div", { class: "ng-row ng-row-head", role: "row", "aria-rowindex": 1 });
  readonly #body = h("div", { class: "ng-rows-all", role: "rowgroup" });
  readonly #shown = new Map<number, HTMLElement>();
  readonly #drawn = new WeakMap<HTMLElement, readonly unknown[]>(); // what a row's cells were written from
  #data: TableData<R> = { columns: [], total: 0, sort: "", descending: true, row: () => null, classOf: () => "", stamp: () => null };
  #names = ""; // of the columns
  #before = 0; // where the visible part was
  #cursor: [row: number, column: number] = [0, 0];
  #keyboard = false; // the cursor is drawn only for the keyboard
  #marked: Element | null = null; // the cell that is said to be the active one

  constructor(
    private readonly name: string,
    label: string,
    private readonly actions: TableActions,
    signal: AbortSignal,
  ) {
    const element = (this.element = focusable(
      h("div", { class: "ng-table", role: "grid", tabindex: 0, "aria-label": label, "aria-multiselectable": "true" }, h("div", { role: "rowgroup", class: "ng-row-top" }, this.#head), this.#body),
    ));
    element.addEventListener("scroll", () => this.#fill(), { signal, passive: true });
    element.addEventListener("click", (event) => this.#click(event));
    // what a cell says in full is put together when it is pointed at
    element.addEventListener("pointerover", ({ target }) => {
      const cell = (target as Element).closest<HTMLElement>(".ng-rows-all .ng-col");
      const row = cell && this.#data.row(Number(cell.parentElement?.dataset.row));
      if (cell && row) cell.title = this.#data.columns[Number(cell.dataset.i)]?.say(row) ?? "";
    });
    element.addEventListener("keydown", (event) => this.#key(event));
    element.addEventListener("focus", () => {
      // the pointer has focused it by pressing; keys come from the keyboard
      if (element.matches(":focus-visible")) this.#keyboard = true;
      this.#paint();
    });
    element.addEventListener("blur", () => {
      this.#keyboard = false;
      this.#paint();
    });
    if (typeof ResizeObserver === "function") {
      const observer = new ResizeObserver(() => this.#fill());
      observer.observe(element);
      signal.addEventListener("abort", () => observer.disconnect());
    }
  }

  /** The row at the cursor, -1 the header. */
  get cursor(): number {
    return this.#cursor[0];
  }

  /** Another result, or other columns; `top`: from its first row. */
  update(data: TableData<R>, top: boolean): void {
    const names = data.columns.map(({ name, width }) => `${name} ${width}`).join();
    const same = names === this.#names;
    this.#names = names;
    this.#data = data;
    const { element } = this;
    element.setAttribute("aria-rowcount", String(data.total + 1));
    element.setAttribute("aria-colcount", String(data.columns.length));
    if (!same) {
      element.style.setProperty("--ng-columns", data.columns.map(({ width, grow }) => (grow ? `minmax(${width}px, ${grow}fr)` : `${width}px`)).join(" "));
      element.style.setProperty("--ng-width", `${data.columns.reduce((sum, { width }) => sum + width, 0)}px`);
      for (const row of this.#shown.values()) row.remove();
      this.#shown.clear();
    }
    this.#body.style.height = `${Math.min(data.total * ROW, TALLEST)}px`;
    if (top) element.scrollTop = 0;
    const [row, column] = this.#cursor;
    this.#cursor = [top ? 0 : Math.min(row, data.total - 1), Math.min(column, data.columns.length - 1)];
    this.#drawHead();
    this.refresh();
  }

  /** Rows came, or say something else now. */
  refresh(): void {
    this.#fill();
  }

  /** Scrolls so that a row can be seen, and puts the cursor there. */
  reveal(i: number): void {
    this.#cursor = [i, this.#cursor[1]];
    this.#scrollTo(i);
    this.#fill();
  }

  // --- drawing --------------------------------------------------------------------------------------------------

  get #port(): number {
    return Math.max(ROW, (this.element.clientHeight || 20 * ROW) - HEAD);
  }

  /** How far down in all rows the top of the visible part is, px. */
  get #top(): number {
    const all = this.#data.total * ROW;
    if (all <= TALLEST) return this.element.scrollTop;
    return (this.element.scrollTop / Math.max(1, TALLEST - this.#port)) * (all - this.#port);
  }

  #scrollTo(i: number): void {
    const [top, port] = [this.#top, this.#port];
    const start = i * ROW;
    const goal = start < top ? start : start + ROW > top + port ? start + ROW - port : top;
    if (goal === top) return;
    const all = this.#data.total * ROW;
    this.element.scrollTop = all <= TALLEST ? goal : (goal / (all - port)) * (TALLEST - port);
  }

  #drawHead(): void {
    const { columns, sort, descending } = this.#data;
    this.#head.replaceChildren(
      ...columns.map(({ name, label, what, end }, k) => {
        const here = name === sort;
        const cell = h(
          "div",
          { class: `ng-col${end ? " ng-end" : ""}${here ? " ng-sorted" : ""}`, role: "columnheader", "aria-colindex": k + 1, "data-i": k, title: `${label}: ${what}`, "aria-sort": here ? (descending ? "descending" : "ascending") : null },
          h("span", { class: "ng-col-name" }, label),
          h("span", { class: "ng-arrow", "aria-hidden": "true" }, here ? (descending ? "▾" : "▴") : ""),
        );
        return cell;
      }),
    );
  }

  #fill(): void {
    const { total, row } = this.#data;
    const top = this.#top;
    const from = Math.max(0, Math.floor(top / ROW) - AHEAD);
    const to = Math.min(total, Math.ceil((top + this.#port) / ROW) + AHEAD);
    const free: HTMLElement[] = [];
    for (const [i, element] of this.#shown) {
      if (i >= from && i < to) continue;
      this.#shown.delete(i);
      free.push(element);
    }
    const shift = this.element.scrollTop - top; // 0 unless rows scroll by a ratio
    for (let i = from; i < to; i++) {
      let element = this.#shown.get(i);
      if (!element) {
        element = free.pop() ?? this.#make();
        this.#shown.set(i, element);
        element.setAttribute("aria-rowindex", String(i + 2));
        element.dataset.row = String(i);
        element.style.top = `${i * ROW + shift}px`;
      } else if (shift !== 0) element.style.top = `${i * ROW + shift}px`;
      this.#write(element, row(i));
    }
    for (const element of free) element.remove();
    this.#paint();
    if (total > 0) this.actions.need(from, to, top >= this.#before);
    this.#before = top;
  }

  #make(): HTMLElement {
    const row = h(
      "div",
      { class: "ng-row", role: "row" },
      ...this.#data.columns.map(({ end }, k) => h("div", { class: `ng-col${end ? " ng-end" : ""}`, role: k ? "gridcell" : "rowheader", "aria-colindex": k + 1, "data-i": k })),
    );
    this.#body.append(row);
    return row;
  }

  #write(element: HTMLElement, row: R | null): void {
    const { columns, classOf, stamp } = this.#data;
    const name = row === null ? "ng-row ng-row-blank" : `ng-row ${classOf(row)}`;
    if (element.className !== name) {
      element.className = name;
      element.setAttribute("aria-selected", String(element.matches(".ng-sel, .ng-ticked")));
    }
    const made = [row, row && stamp(row)];
    const before = this.#drawn.get(element);
    if (before?.every((part, k) => part === made[k])) return;
    this.#drawn.set(element, made);
    columns.forEach(({ draw }, k) => {
      const cell = element.children[k] as HTMLElement;
      cell.removeAttribute("title");
      if (row === null) cell.textContent = "…";
      else cell.replaceChildren(...draw(row));
    });
  }

  /** Where the keyboard is. */
  #paint(): void {
    const id = `${this.name}-cursor`;
    const { element } = this;
    const [row, column] = this.#cursor;
    const cell = this.#data.total ? (row < 0 ? this.#head : this.#shown.get(row))?.children[column] : undefined;
    if (this.#marked && this.#marked !== cell) {
      this.#marked.removeAttribute("id");
      this.#marked.classList.remove("ng-cur");
    }
    this.#marked = cell ?? null;
    if (!cell) {
      element.removeAttribute("aria-activedescendant");
      return;
    }
    cell.id = id;
    cell.classList.toggle("ng-cur", this.#keyboard);
    element.setAttribute("aria-activedescendant", id);
  }

  // --- what a person does ---------------------------------------------------------------------------------------

  #click(event: MouseEvent): void {
    const target = event.target as Element;
    const cell = target.closest<HTMLElement>(".ng-col");
    const row = cell?.parentElement;
    if (!cell || !row) return;
    this.#keyboard = false;
    const column = Number(cell.dataset.i);
    if (row === this.#head) {
      this.#cursor = [-1, column];
      this.actions.sort(this.#data.columns[column]?.name ?? "");
      return;
    }
    const i = Number(row.dataset.row);
    this.#cursor = [i, column];
    this.#paint();
    const toggle = event.ctrlKey || event.metaKey || target.closest(".ng-tick") !== null;
    this.actions.pick(i, event.shiftKey ? "range" : toggle ? "toggle" : "set");
  }

  #key(event: KeyboardEvent): void {
    const { total, columns } = this.#data;
    const [row, column] = this.#cursor;
    if (event.key === "Escape") {
      this.actions.escape();
      return;
    }
    if (total === 0 || event.altKey) return;
    const page = Math.max(1, Math.floor(this.#port / ROW) - 1);
    const far = event.ctrlKey || event.metaKey;
    const goals: Record<string, [number, number]> = {
      ArrowDown: [row + 1, column],
      ArrowUp: [row - 1, column],
      PageDown: [row + page, column],
      PageUp: [Math.max(0, row - page), column],
      ArrowRight: [row, column + 1],
      ArrowLeft: [row, column - 1],
      Home: far ? [0, column] : [row, 0],
      End: far ? [total - 1, column] : [row, columns.length - 1],
    };
    const goal = goals[event.key];
    if (goal) {
      event.preventDefault();
      const sideways = goal[0] === row;
      this.#keyboard = true;
      this.#cursor = [Math.max(-1, Math.min(total - 1, goal[0])), Math.max(0, Math.min(columns.length - 1, goal[1]))];
      if (this.#cursor[0] >= 0) this.#scrollTo(this.#cursor[0]);
      this.#fill();
      this.#sideways();
      this.actions.moved(...this.#cursor, sideways);
      if (event.shiftKey && !sideways && this.#cursor[0] >= 0) this.actions.pick(this.#cursor[0], "range");
    } else if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      this.#keyboard = true;
      if (row < 0) this.actions.sort(columns[column]?.name ?? "");
      else this.actions.pick(row, event.key === "Enter" ? "set" : event.shiftKey ? "range" : "toggle");
      this.#paint();
    } else if (row >= 0) this.actions.key(event, row);
  }

  /** Scrolls sideways to the cursor's column, which the first one covers. */
  #sideways(): void {
    const cell = this.#head.children[this.#cursor[1]] as HTMLElement | undefined;
    const first = this.#head.firstElementChild as HTMLElement | null;
    if (!cell || !first || cell === first) {
      if (cell === first) this.element.scrollLeft = 0;
      return;
    }
    const { scrollLeft, clientWidth } = this.element;
    const [start, end] = [cell.offsetLeft - first.offsetWidth, cell.offsetLeft + cell.offsetWidth];
    if (start < scrollLeft) this.element.scrollLeft = start;
    else if (end > scrollLeft + clientWidth) this.element.scrollLeft = Math.min(start, end - clientWidth);
  }
}
