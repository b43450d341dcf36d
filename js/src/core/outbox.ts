/**
 * Requests of which each one counts: what a person writes down, say. In: requests of any kind. Out: they leave one after
 * the other, the next when the one before it was answered; a silent kernel gets them when it speaks again.
 */
import type { ErrorInfo, Kind, Reply } from "./protocol.js";

export class Outbox {
  readonly #waiting: [kind: Kind, payload: object][] = [];
  #busy = false;

  constructor(
    private readonly ask: (kind: Kind, payload: object, done: (reply: Reply) => void) => void,
    private readonly failed: (error: ErrorInfo) => void,
  ) {}

  send(kind: Kind, payload: object): void {
    this.#waiting.push([kind, payload]);
    this.#next();
  }

  #next(): void {
    const next = this.#busy ? undefined : this.#waiting.shift();
    if (!next) return;
    this.#busy = true;
    this.ask(...next, ({ error }) => {
      this.#busy = false;
      if (error) this.failed(error);
      this.#next();
    });
  }
}
