/**
 * The rows of the picture: a head for each, and its token strip, or one strip for all that is coloured by the row that
 * is chosen. In: a picture, which token is selected, what was found. Out: DOM that is reused from one picture to the
 * next, and calls for what a person does to a token (point at it, move to it, pin it) or to a row. One pointer listener
 * serves all rows; the token area is one tab stop.
 */
import type { Theme } from "../../core/colour.js";
import { h } from "../../core/dom.js";
import type { Hit } from "../../core/find.js";
import type { Picture, Row, Sequence } from "../../core/picture.js";
import { Strip } from "../../core/strip.js";
import { type Allowed, RowHead } from "./row-head.js";
import type { Place } from "../../core/selection.js";

export interface RowActions {
  point: (place: Place | null, token: Element | null) => void; // the pointer is on a token, or left
  move: (place: Place, token: Element) => void; // the keyboard came to a token
  pin: (place: Place) => void; // click or Enter
  escape: () => void;
  remove: (row: number) => void;
  lock: (row: number) => void; // or let go
  shift: (row: number, by: number) => void; // one up or down
  choose: (row: number) => void; // colour the one text by this row
}

export interface Look {
  live: boolean;
  one: boolean; // the text once, coloured by the row that is chosen
  wrap: boolean;
  theme: Theme;
}

/** What was found in a text, and the place that is looked at. */
export interface Found {
  seq: Sequence;
  hits: readonly Hit[];
  now: Hit | null;
}

interface RowView {
  element: HTMLElement;
  head: RowHead;
  strip: Strip | null; // null: the text is drawn once for all rows
  lifetime: AbortController;
}

const same = (a: Place | null, b: Place | null): boolean => a?.[0] === b?.[0] && a?.[1] === b?.[1];

export class Rows {
  readonly element = h("div", { class: "ng-rows" });
  cursor: Place = [0, 0];
  /** The row that colours the one text. */
  active = 0;
  readonly #list = h("div", { class: "ng-row-list" });
  readonly #one: { element: HTMLElement; strip: Strip };
  #views: RowView[] = [];
  #picture: Picture | null = null;
  #rows: readonly Row[] = [];
  #look: Look = { live: false, one: false, wrap: true, theme: "light" };
  #selected: Place | null = null;
  #found: Found[] = [];
  #keyboard = false; // the cursor is drawn only for the keyboard
  #pointer = [-1, -1];

  constructor(
    private readonly name: string,
    private readonly actions: RowActions,
    private readonly signal: AbortSignal,
  ) {
    const { element } = this;
    const strip = new Strip(signal, () => this.#frameMaps());
    this.#one = { strip, element: h("div", { class: "ng-one" }, strip.element) };
    element.append(this.#list);
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
      this.#strip(place[0])?.element.focus({ preventScroll: true });
      actions.pin(place);
    });
    element.addEventListener("keydown", (event) => {
      this.#key(event);
    });
    element.addEventListener("focusin", (event) => {
      const row = this.#rows.findIndex((_, r) => this.#strip(r)?.element === event.target);
      if (row >= 0) this.#setCursor([row, this.cursor[1]]);
    });
    signal.addEventListener("abort", () => {
      this.#shrink(0);
    });
  }

  draw(picture: Picture | null, look: Look): void {
    if (look.one !== this.#look.one) this.#shrink(0);
    this.#look = look;
    this.#picture = picture;
    const rows = (this.#rows = picture?.rows ?? []);
    this.#shrink(rows.length);
    if (this.active >= rows.length) this.active = Math.max(0, rows.length - 1);
    if (look.one) this.cursor = [this.active, this.cursor[1]];
    this.element.classList.toggle("ng-flat", !look.wrap);
    this.element.classList.toggle("ng-together", look.one);
    if (look.one && rows.length) this.element.append(this.#one.element);
    else this.#one.element.remove();
    rows.forEach((row, r) => {
      const view = (this.#views[r] ??= this.#make(r));
      view.element.setAttribute("aria-label", row.label);
      view.element.classList.toggle("ng-locked", row.locked);
      view.element.classList.toggle("ng-chosen", look.one && r === this.active);
      view.head.show(row, this.#allowed(r), look.one && r === this.active, look.theme);
      if (view.strip) this.#fill(view.strip, r);
    });
    if (look.one && rows.length) {
      this.#one.element.dataset.row = String(this.active);
      this.#fill(this.#one.strip, this.active);
    }
    this.#setCursor(this.cursor);
    this.#frameMaps();
    this.#markMaps();
  }

  #fill(strip: Strip, r: number): void {
    const row = this.#rows[r];
    if (!row) return;
    strip.element.setAttribute("aria-label", `tokens, coloured by ${row.label}`);
    strip.update(row.seq.pieces, (i) => this.#classOf(r, i));
  }

  /** Colours the one text by another row. */
  choose(r: number): void {
    if (!this.#look.one || r === this.active || !this.#rows[r]) return;
    this.active = r;
    this.cursor = [r, this.cursor[1]]; // the text stays where it is
    this.draw(this.#picture, this.#look);
  }

  /** What can be done to a row: locked ones and the others are two lists, and the last of the others stays. */
  #allowed(r: number): Allowed {
    const row = this.#rows[r];
    const none = { lock: false, up: false, down: false, remove: false };
    if (!row || !this.#look.live || row.key === "") return none;
    const own = this.#rows.filter(({ key, locked }) => key !== "" && locked === row.locked);
    const at = own.indexOf(row);
    // in every layer: the rows are one list that is not ours to order
    if (this.#picture?.across && !row.locked) return { ...none, lock: true };
    return { lock: true, up: at > 0, down: at < own.length - 1, remove: row.locked || own.length > 1 };
  }

  select(place: Place | null): void {
    if (same(place, this.#selected)) return;
    const before = this.#selected;
    this.#selected = place;
    for (const one of [before, place]) if (one) this.#repaintTwins(one);
    if (!place || !this.#rows[place[0]] || place[1] >= (this.#rows[place[0]]?.seq.pieces.length ?? 0)) return;
    this.choose(place[0]);
    this.#setCursor(place);
  }

  /** A place and what stands for it in the other rows. */
  #repaintTwins([r, i]: Place): void {
    const seq = this.#rows[r]?.seq;
    this.#rows.forEach((row, k) => {
      const twin = row.seq === seq ? i : (seq?.aligned?.[i] ?? -1);
      if (twin >= 0) this.#strip(k)?.repaint(twin);
    });
  }

  /** Marks what was found, and goes to the place that is looked at. */
  mark(found: Found[], go: boolean): void {
    if (found.length === 0 && this.#found.length === 0) return; // with every picture
    this.#found = found;
    this.#rows.forEach((_, r) => this.#strip(r)?.repaint());
    this.#markMaps();
    const at = found.find(({ now }) => now);
    if (!go || !at?.now) return;
    let row = this.#rows.findIndex(({ seq }) => seq === at.seq);
    if (this.#look.one) {
      if (this.#rows[this.active]?.seq === at.seq) row = this.active;
      else this.choose(row);
    }
    this.#strip(row)?.reveal(at.now[0]);
  }

  token([row, i]: Place): HTMLElement | null {
    return this.#strip(row)?.token(i) ?? null;
  }

  /** The pieces of a strip's element, for copying. */
  pieces(strip: Element): readonly string[] | null {
    const r = this.#rows.findIndex((_, k) => this.#strip(k)?.element === strip);
    return this.#rows[r]?.seq.pieces ?? null;
  }

  /** The strip that shows a row, if one does. */
  #strip(r: number): Strip | null {
    if (!this.#look.one) return this.#views[r]?.strip ?? null;
    return r === this.active ? this.#one.strip : null;
  }

  #make(r: number): RowView {
    const lifetime = new AbortController();
    const { signal } = lifetime;
    const { actions } = this;
    const head = new RowHead(
      {
        remove: () => actions.remove(r),
        lock: () => actions.lock(r),
        shift: (by) => actions.shift(r, by),
        choose: () => actions.choose(r),
        go: (token) => {
          this.choose(r);
          this.#strip(r)?.reveal(token, "start");
        },
      },
      signal,
      this.#look.one,
    );
    const strip = this.#look.one ? null : new Strip(signal, () => this.#frameMaps());
    const element = h("div", { class: "ng-row", "data-row": r, role: "group" }, head.element, strip?.element);
    this.#list.append(element);
    return { element, head, strip, lifetime };
  }

  #shrink(length: number): void {
    for (const view of this.#views.splice(length)) {
      view.lifetime.abort();
      view.element.remove();
    }
  }

  #frameMaps(): void {
    const shared = this.#look.one && this.#rows.length ? this.#one.strip.visible : null;
    this.#views.forEach(({ head, strip }) => {
      if (head.map.element.hidden) return;
      const visible = shared ?? strip?.visible;
      if (visible) head.map.frame(visible);
    });
  }

  #markMaps(): void {
    this.#views.forEach(({ head }, r) => {
      const found = this.#found.find(({ seq }) => seq === this.#rows[r]?.seq);
      head.map.mark(found?.hits.map(([first]) => first) ?? []);
    });
  }

  #classOf(r: number, i: number): string {
    const row = this.#rows[r];
    if (!row) return "";
    const { seq } = row;
    const { name, clipped } = row.shadeAt(i);
    const kind = seq.kinds[i];
    let classes = name ? ` ${name}` : "";
    if (clipped) classes += " ng-clip";
    if (kind) classes += kind === 2 ? " ng-special" : " ng-raw";
    if (seq.masked?.[i]) classes += " ng-masked";
    if (seq.aligned?.[i] === -1) classes += " ng-changed";
    for (const found of this.#found) {
      if (found.seq !== seq || !touches(found.hits, i)) continue;
      classes += found.now && i >= found.now[0] && i <= found.now[1] ? " ng-hit-now" : " ng-hit";
    }
    if (this.#selected) {
      const [at, token] = this.#selected;
      const other = this.#rows[at]?.seq;
      if (at === r && token === i) classes += " ng-sel";
      else if (other === seq ? token === i : other?.aligned?.[token] === i) classes += " ng-twin";
    }
    if (this.#keyboard && this.cursor[0] === r && this.cursor[1] === i) classes += " ng-cur";
    return classes;
  }

  #tokenOf(target: EventTarget | null): HTMLElement | null {
    return target instanceof Element ? target.closest<HTMLElement>(".ng-tok") : null;
  }

  #placeOf(token: HTMLElement): Place | null {
    const row = Number(token.closest<HTMLElement>("[data-row]")?.dataset.row);
    const i = Number(token.dataset.i);
    return Number.isInteger(row) && Number.isInteger(i) ? [row, i] : null;
  }

  /** Moves the keyboard's token: one strip has the tab stop and names its active token. */
  #setCursor([row, i]: Place): void {
    const before = this.cursor;
    const r = Math.max(0, Math.min(row, this.#rows.length - 1));
    if (this.#look.one && r !== this.active) this.choose(r);
    this.cursor = [r, Math.max(0, Math.min(i, (this.#rows[r]?.seq.pieces.length ?? 1) - 1))];
    const old = this.token(before);
    old?.removeAttribute("id");
    this.#strip(before[0])?.repaint(before[1]);
    const id = `${this.name}-cursor`;
    const token = this.token(this.cursor);
    if (token) token.id = id;
    this.#strip(r)?.repaint(this.cursor[1]);
    this.#rows.forEach((_, k) => {
      const strip = this.#strip(k);
      if (!strip) return;
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
    const forward = this.#strip(r)?.direction === "rtl" ? -1 : 1;
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
      const strip = this.#strip(this.cursor[0]);
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

/** A token lies in one of the hits, which are in order. */
function touches(hits: readonly Hit[], i: number): boolean {
  let [low, high] = [0, hits.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((hits[middle]?.[1] ?? 0) < i) low = middle + 1;
    else high = middle;
  }
  const hit = hits[low];
  return hit !== undefined && i >= hit[0] && i <= hit[1];
}
