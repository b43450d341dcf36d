/**
 * Links between views where no kernel answers: in an exported page, or after the kernel went away. `ng.link` lives in
 * Python; what it linked is in the trait `_links`. In: the view's traits, the host, and whether it is alone. Out: a
 * linked trait that changes here is set in the other models. With a kernel nothing is done here: two
 * ways for one value could overtake each other, and never come to rest.
 */
import { type Host, listen } from "./model.js";
import type { BaseTraits, Synced } from "./traits.js";

export interface WireLink {
  name: string; // of the trait
  refs: string[]; // "anywidget:<model id>" of the other views
}

export class Links<T extends BaseTraits> {
  #listening = new AbortController();

  constructor(
    private readonly synced: Synced<T>,
    private readonly host: Host | undefined,
    private readonly alone: () => boolean,
    private readonly changed: () => void, // a linked trait changed here
    signal: AbortSignal,
  ) {
    signal.addEventListener("abort", () => {
      this.#listening.abort();
    });
    listen(synced.model, "change:_links", signal, () => {
      this.#follow();
    });
    this.#follow();
  }

  get #links(): WireLink[] {
    return this.synced.get("_links") ?? [];
  }

  #follow(): void {
    this.#listening.abort();
    this.#listening = new AbortController();
    for (const name of new Set(this.#links.map((link) => link.name))) {
      listen(this.synced.model, `change:${name}`, this.#listening.signal, () => {
        this.changed();
        this.pass(name);
      });
    }
  }

  /** Passes on a linked trait, or all of them, if this view is alone. */
  pass(only?: string): void {
    if (!this.host || !this.alone()) return;
    for (const { name, refs } of this.#links) {
      if (only === undefined || only === name) for (const ref of refs) void this.#pass(this.host, ref, name);
    }
  }

  async #pass(host: Host, ref: string, name: string): Promise<void> {
    try {
      const model = await host.getModel(ref);
      const value: unknown = this.synced.model.get(name as keyof T & string);
      if (JSON.stringify(model.get(name)) === JSON.stringify(value)) return;
      model.set(name, value);
      model.save_changes();
    } catch {
      // the other view is not in this page
    }
  }
}
