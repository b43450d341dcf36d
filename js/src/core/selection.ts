/**
 * The selected place of a view of rows over tokens. In: the traits `selected` and `token`, from Python, a link or this
 * view. Out: the two kept together, `show` where there is something new to show, and whether a panel is due anew.
 */
import type { Shell } from "./shell.js";
import type { BaseTraits } from "./traits.js";

export type Place = [row: number, position: number];

export interface SelectionTraits extends BaseTraits {
  selected: Place | null;
  token: number | null; // the position alone, which links share
}

export interface SelectionActions {
  has: (place: Place) => boolean; // the picture has it
  row: () => number; // where a token is selected if nothing was
  show: () => void;
}

export class Selection<T extends SelectionTraits> {
  #subject: readonly unknown[] = []; // what the panel was last drawn for

  constructor(
    private readonly shell: Shell<T>,
    private readonly actions: SelectionActions,
  ) {}

  /** From now on follows what others select. */
  follow(): void {
    this.shell.on(["selected"], this.actions.show);
    this.shell.on(["token"], () => {
      // a link moved it; Python does the same, and may not be there
      const token = this.shell.synced.get("token");
      const now = this.place;
      if (token === null) this.clear();
      else if (now?.[1] !== token) {
        const place: Place = [now?.[0] ?? this.actions.row(), token];
        if (this.actions.has(place)) this.select(place); // a linked text may be longer
      }
    });
  }

  /** The selected place, if it is one. */
  get place(): Place | null {
    const place: unknown = this.shell.synced.get("selected");
    return Array.isArray(place) && place.length === 2 ? (place as Place) : null;
  }

  select(place: Place | null): void {
    this.shell.synced.write({ selected: place, token: place ? place[1] : null } as Partial<T>);
    this.actions.show();
  }

  clear(): void {
    if (this.place) this.select(null);
  }

  is(place: Place): boolean {
    const now = this.place;
    return now?.[0] === place[0] && now[1] === place[1];
  }

  /** The panel is due for this picture and place; some hosts report our own change of the trait, some do not. */
  due(picture: unknown): boolean {
    const subject = [picture, this.shell.live, ...(this.place ?? [])];
    const same = subject.length === this.#subject.length && subject.every((part, k) => part === this.#subject[k]);
    this.#subject = subject;
    return !same;
  }
}
