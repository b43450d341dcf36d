/**
 * Synced state that every view shares with Python, typed, and the way to read, write and follow it. A view adds its
 * own traits in its `synced.ts`; what concerns a mounted view alone is never in here.
 */
import { type Model, listen } from "./model.js";
import type { WireLink } from "./links.js";
import type { ErrorInfo } from "./protocol.js";
import type { ThemeWish } from "./theme.js";

export interface BaseTraits {
  _version: string;
  live: boolean;
  title: string;
  theme: ThemeWish;
  error: ErrorInfo | null;
  code: string;
  _links?: WireLink[]; // what ng.link linked; see links.ts
  _offline?: boolean; // an exported page: there is no kernel
}

export class Synced<T extends BaseTraits> {
  constructor(
    readonly model: Model<T>,
    private readonly signal: AbortSignal,
  ) {}

  get<K extends keyof T & string>(name: K): T[K] {
    return this.model.get(name);
  }

  /** Calls back when one of these traits changes. */
  on(names: readonly (keyof T & string)[], callback: () => void): void {
    for (const name of names) listen(this.model, `change:${name}`, this.signal, callback);
  }

  /** Writes traits, as one message. */
  write(changes: Partial<T>): void {
    for (const name of Object.keys(changes) as (keyof T & string)[]) {
      this.model.set(name, changes[name] as T[typeof name]);
    }
    this.model.save_changes();
  }
}
