/**
 * The rows of the picture: header, legend and token strip of each. In: a picture, and which token is selected. Out:
 * DOM that is reused from one picture to the next, and calls for what a person does to a token (point at it, move to it,
 * pin it) or to a row (remove it). One pointer listener serves all rows; the token area is one tab stop.
 */
import { button, h } from "../../core/dom.js";
import { legendOf } from "../../core/legend.js";
import { type Picture, type Row, shadeAt } from "../../core/picture.js";
import { Strip } from "../../core/strip.js";
import type { Place } from "./synced.js";

export interface RowActions {
  point: (place: Place | null, token: Element | null) => void; // the pointer is on a token, or left
  move: (place: Place, token: Element) => void; // the keyboard came to a token
  pin: (place: Place) => void; // click or Enter
  escape: () => void;
  remove: (row: number) => void;
  lock: (row: number) => void; // or let go
  shift: (row: number, by: number) => void; // one up or down
}

interface RowView {
  element: HTMLElement;
  label: HTMLElement;
  legend: HTMLElement;
  lock: HTMLButtonElement;
  up: HTMLButtonElement;
  down: HTMLButtonElement;
  remove: HTMLButtonElement;
  strip: Strip;
  lifetime: AbortController;
}

const same = (a: Place | null, b: Place | null): boolean => a?.[0] === b?.[0] && a?.[1] === b?.[1];

export class Rows {
  readonly element = h("div", { class: "ng-rows" });
  cursor: Place = [0, 0];
  #views: RowView[] = [];
  #rows: readonly Row[] = [];
  #selected: Place | null = null;
  #keyboard = false; // the cursor is drawn only for the keyboard
  #pointer = [-1, -1];

  constructor(
    private readonly name: string,
    private readonly actions: RowActions,
    private readonly signal: AbortSignal,
  ) {
    const { element } = this;
    element.addEventListener("pointermove", ({ clientX, clientY }) => {
      this.#pointer = [clientX, clientY];
    });
    element.addEventListener("pointerover", (event) => {
      // text that the keyboard scrolls under a resting pointer was not pointed at
      if (this.#keyboard && event.clientX === this.#pointer[0] && event.clientY === this.#pointer[1]) return;
      const token = this.#tokenOf(event.target);
      actions.point(token && this.#placeOf(token), token);
    });
    element.addEventListener("pointerleave", () => {
      actions.point(null, null);
    });
    element.addEventListener("click", (event) => {
      const token = this.#tokenOf(event.target);
      const place = token && this.#placeOf(token);
      const dragged = document.getSelection();
      if (!place || (dragged && !dragged.isCollapsed && element.contains(dragged.anchorNode))) return;
      this.#keyboard = false;
      this.#setCursor(place);
      this.#views[place[0]]?.strip.element.focus({ preventScroll: true });
      actions.pin(place);
    });
    element.addEventListener("keydown", (event) => {
      this.#key(event);
    });
    element.addEventListener("focusin", (event) => {
      const row = this.#views.findIndex(({ strip }) => strip.element === event.target);
      if (row >= 0) this.#setCursor([row, this.cursor[1]]);
    });
    signal.addEventListener("abort", () => {
      this.#shrink(0);
    });
  }

  draw(picture: Picture | null, live: boolean): void {
    const rows = (this.#rows = picture?.rows ?? []);
    this.#shrink(rows.length);
    rows.forEach((row, r) => {
      const view = (this.#views[r] ??= this.#make(r));
      if (view.label.textContent !== row.label) view.label.textContent = view.label.title = row.label;
      view.element.setAttribute("aria-label", row.label);
      view.strip.element.setAttribute("aria-label", `tokens, coloured by ${row.label}`);
      view.legend.replaceChildren(...legendOf(row));
      this.#offer(view, r, live);
      view.strip.update(row.seq.pieces, (i) => this.#classOf(r, i));
    });
    this.#setCursor(this.cursor);
  }

  /** What can be done to a row: locked ones and the others are two lists, and the last of the others stays. */
  #offer(view: RowView, r: number, live: boolean): void {
    const row = this.#rows[r];
    if (!row) return;
    const alike = (k: number): boolean => this.#rows[k]?.locked === row.locked;
    view.element.classList.toggle("ng-locked", row.locked);
    view.lock.hidden = !live || row.key === "";
    view.lock.setAttribute("aria-pressed", String(row.locked));
    view.up.hidden = view.down.hidden = !live || this.#rows.filter(({ locked }) => locked === row.locked).length < 2;
    view.up.disabled = !alike(r - 1);
    view.down.disabled = !alike(r + 1);
    view.remove.hidden = !live || (!row.locked && this.#rows.filter(({ locked }) => !locked).length < 2);
    for (const [button, what] of [[view.lock, "keep"], [view.up, "move up"], [view.down, "move down"], [view.remove, "remove"]] as const) {
      button.setAttribute("aria-label", `${what} ${row.label}`);
    }
  }

  select(place: Place | null): void {
    if (same(place, this.#selected)) return;
    const before = this.#selected;
    this.#selected = place;
    for (const [row, i] of [before, place].filter((p) => p !== null)) {
      this.#views[row]?.strip.repaint(i);
    }
    if (place && this.#views[place[0]] && place[1] < (this.#rows[place[0]]?.seq.pieces.length ?? 0)) this.#setCursor(place);
  }

  token([row, i]: Place): HTMLElement | null {
    return this.#views[row]?.strip.token(i) ?? null;
  }

  /** The pieces of a strip's element, for copying. */
  pieces(strip: Element): readonly string[] | null {
    const row = this.#views.findIndex((view) => view.strip.element === strip);
    return this.#rows[row]?.seq.pieces ?? null;
  }

  #make(r: number): RowView {
    const lifetime = new AbortController();
    const label = h("span", { class: "ng-row-label" });
    const legend = h("span", { class: "ng-legend" });
    const remove = button("×", { class: "ng-icon ng-row-remove", title: "remove this row" }, () => {
      this.actions.remove(r);
    });
    const lock = button("keep", { class: "ng-row-lock", title: "keep this row when the site changes" }, () => {
      this.actions.lock(r);
    });
    const up = button("↑", { class: "ng-icon", title: "move this row up" }, () => {
      this.actions.shift(r, -1);
    });
    const down = button("↓", { class: "ng-icon", title: "move this row down" }, () => {
      this.actions.shift(r, 1);
    });
    const strip = new Strip(lifetime.signal);
    const head = h("div", { class: "ng-row-head" }, label, legend, h("span", { class: "ng-row-tools" }, lock, up, down, remove));
    const element = h("div", { class: "ng-row", "data-row": r, role: "group" }, head, strip.element);
    this.element.append(element);
    return { element, label, legend, lock, up, down, remove, strip, lifetime };
  }

  #shrink(length: number): void {
    for (const view of this.#views.splice(length)) {
      view.lifetime.abort();
      view.element.remove();
    }
  }

  #classOf(r: number, i: number): string {
    const row = this.#rows[r];
    if (!row) return "";
    const { name, clipped } = shadeAt(row, i);
    const kind = row.seq.kinds[i];
    let classes = name ? ` ${name}` : "";
    if (clipped) classes += " ng-clip";
    if (kind) classes += kind === 2 ? " ng-special" : " ng-raw";
    if (row.seq.masked?.[i]) classes += " ng-masked";
    if (this.#selected?.[0] === r && this.#selected[1] === i) classes += " ng-sel";
    if (this.#keyboard && this.cursor[0] === r && this.cursor[1] === i) classes += " ng-cur";
    return classes;
  }

  #tokenOf(target: EventTarget | null): HTMLElement | null {
    return target instanceof Element ? target.closest<HTMLElement>(".ng-tok") : null;
  }

  #placeOf(token: HTMLElement): Place | null {
    const row = Number(token.closest<HTMLElement>(".ng-row")?.dataset.row);
    const i = Number(token.dataset.i);
    return Number.isInteger(row) && Number.isInteger(i) ? [row, i] : null;
  }

  /** Moves the keyboard's token: one strip has the tab stop and names its active token. */
  #setCursor([row, i]: Place): void {
    const before = this.cursor;
    const r = Math.max(0, Math.min(row, this.#views.length - 1));
    this.cursor = [r, Math.max(0, Math.min(i, (this.#rows[r]?.seq.pieces.length ?? 1) - 1))];
    const old = this.token(before);
    old?.removeAttribute("id");
    this.#views[before[0]]?.strip.repaint(before[1]);
    const id = `${this.name}-cursor`;
    const token = this.token(this.cursor);
    if (token) token.id = id;
    this.#views[r]?.strip.repaint(this.cursor[1]);
    this.#views.forEach(({ strip }, k) => {
      strip.element.tabIndex = k === r && strip.length > 0 ? 0 : -1;
      if (k === r && token) strip.element.setAttribute("aria-activedescendant", id);
      else strip.element.removeAttribute("aria-activedescendant");
    });
  }

  #key(event: KeyboardEvent): void {
    if (!(event.target instanceof Element) || !event.target.classList.contains("ng-tokens")) {
      if (event.key === "Escape") this.actions.escape();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const [r, i] = this.cursor;
    const last = (this.#rows[r]?.seq.pieces.length ?? 0) - 1;
    const forward = this.#views[r]?.strip.element.dir === "rtl" ? -1 : 1;
    const goals: Record<string, Place> = {
      ArrowRight: [r, i + forward],
      ArrowLeft: [r, i - forward],
      ArrowUp: [r - 1, i],
      ArrowDown: [r + 1, i],
      Home: [r, 0],
      End: [r, last],
    };
    const goal = goals[event.key];
    if (goal) {
      event.preventDefault();
      this.#keyboard = true;
      this.#setCursor(goal);
      const strip = this.#views[this.cursor[0]]?.strip;
      const token = strip?.reveal(this.cursor[1]);
      if (!strip || !token) return;
      this.#setCursor(this.cursor); // the token exists now, if its block was not filled before
      if (this.cursor[0] !== r) strip.element.focus({ preventScroll: true });
      this.actions.move(this.cursor, token);
    } else if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      this.#keyboard = true;
      this.#setCursor(this.cursor);
      if (last >= 0) this.actions.pin(this.cursor);
    } else if (event.key === "Escape") {
      this.actions.escape();
    }
  }
}
