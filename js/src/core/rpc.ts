/**
 * Requests to the kernel. In: a request kind and its payload. Out: at most one call of `done` with the last reply, and
 * before it one of `progress` for each reply on the way, of a request that streams. Per kind one request is in flight and
 * only the newest waits; ids are given when a request really leaves. A request that streams gives way to a newer one as
 * soon as the kernel has acknowledged it: nothing of it is passed on any more, and the kernel ends it when the newer one
 * comes. A request that is not acknowledged soon makes the kernel "waiting" (where a notebook has no subshells, comms
 * wait for the running cell). It stays that while a cell can be seen running; where none is, four seconds of silence make
 * it "dead", and where nobody can tell, half a minute does, since long cells are commoner than lost kernels. A comm that
 * refuses a message is dead at once. Requests are then held (only hello goes out) until any message from the kernel
 * arrives, and the newest one is sent again.
 */
import { type Kind, PROTOCOL, type Reply, asReply } from "./protocol.js";

const ACK_SOON = 800; // ms
const ACK_TIMEOUT = 4_000; // no cell is running
const PATIENCE = 30_000; // nobody can tell
const PROBE_INTERVAL = 10_000;

interface Pending {
  kind: Kind;
  payload: object;
  done: (reply: Reply) => void;
  progress: ((reply: Reply) => void) | undefined; // of a request that streams
  id: number; // 0 until it is sent
  sentAt: number;
  acknowledged: boolean;
}

interface Slot {
  flight: Pending | null;
  waiting: Pending | null;
  timer: ReturnType<typeof setTimeout> | undefined; // gives it up
  late: ReturnType<typeof setTimeout> | undefined; // says that it waits
}

export interface RpcOptions {
  view: string;
  version: string;
  send: (message: object) => void; // may throw when the comm is gone
  changed: () => void; // something in flight, waiting or dead changed
  greeted: (reply: Reply) => void; // the answer to a hello
  busy?: () => boolean | null; // a cell is running; null: can't be seen
  fellSilent?: () => void; // it became dead
}

export class Rpc {
  dead = false;
  #id = 0;
  #probedAt = -Infinity;
  readonly #options: RpcOptions;
  readonly #slots = new Map<Kind, Slot>();

  constructor(options: RpcOptions) {
    this.#options = options;
  }

  #slot(kind: Kind): Slot {
    let slot = this.#slots.get(kind);
    if (!slot) this.#slots.set(kind, (slot = { flight: null, waiting: null, timer: undefined, late: undefined }));
    return slot;
  }

  /** Something that was sent has not been acknowledged for a while. */
  get waiting(): boolean {
    const now = performance.now();
    return [...this.#slots.values()].some(
      ({ flight }) => flight !== null && !flight.acknowledged && now - flight.sentAt >= ACK_SOON,
    );
  }

  request(kind: Kind, payload: object, done: (reply: Reply) => void, progress?: (reply: Reply) => void): void {
    const slot = this.#slot(kind);
    slot.waiting = { kind, payload, done, progress, id: 0, sentAt: 0, acknowledged: false };
    if (slot.flight?.progress && slot.flight.acknowledged) slot.flight = null;
    this.#advance(slot);
    if (this.dead && kind !== "hello") this.probe();
    this.#options.changed();
  }

  /** A request of this kind is on its way or waiting. */
  busy(kind: Kind): boolean {
    const slot = this.#slot(kind);
    return slot.flight !== null || slot.waiting !== null;
  }

  /** How long ago the request with this id left, if it is the one in flight. */
  elapsed(kind: Kind, id: number): number | null {
    const flight = this.#slot(kind).flight;
    return flight?.id === id ? performance.now() - flight.sentAt : null;
  }

  /** Drops what waits and asks the kernel to stop what runs. */
  cancel(kind: Kind): void {
    const slot = this.#slot(kind);
    slot.waiting = null;
    if (slot.flight) this.#post({ kind: "cancel", target: slot.flight.id }, ++this.#id);
    this.#options.changed();
  }

  /** Is anybody there? At most every ten seconds, unless a person or the host asks (`now`). */
  probe(now = false): void {
    const time = performance.now();
    const hello = this.#slot("hello");
    if (!now && time - this.#probedAt < PROBE_INTERVAL) return;
    if (hello.flight && !hello.flight.acknowledged && !(now && this.dead)) return;
    this.#probedAt = time;
    hello.flight = null;
    this.request("hello", { version: this.#options.version }, this.#options.greeted);
  }

  /** Feeds a custom message; what is not ours is ignored. */
  receive(message: unknown): void {
    const reply = asReply(message, this.#options.view);
    if (!reply) return;
    for (const slot of this.#slots.values()) {
      // the kernel was only slow: a request given up for lost is answered after all, and nothing newer waits
      if (slot.waiting?.id === reply.id) {
        slot.flight = slot.waiting;
        slot.waiting = null;
      }
    }
    this.alive();
    const slot = [...this.#slots.values()].find(({ flight }) => flight?.id === reply.id);
    if (!slot?.flight) return; // an old request: only a sign of life
    clearTimeout(slot.timer);
    clearTimeout(slot.late);
    const waited = this.waiting;
    slot.flight.acknowledged = true;
    if (waited && !reply.done) this.#options.changed();
    const { done, progress } = slot.flight;
    if (!reply.done) {
      if (progress && slot.waiting) {
        slot.flight = null;
        this.#advance(slot);
      } else if (reply.seq >= 1) {
        progress?.(reply);
      }
      return;
    }
    slot.flight = null;
    done(reply);
    this.#advance(slot);
    this.#options.changed();
  }

  /** Anything that proves a living kernel: held requests go out again. */
  alive(): void {
    if (!this.dead) return;
    this.dead = false;
    for (const slot of this.#slots.values()) this.#advance(slot);
    this.#options.changed();
  }

  dispose(): void {
    for (const slot of this.#slots.values()) {
      clearTimeout(slot.timer);
      clearTimeout(slot.late);
      slot.flight = slot.waiting = null;
    }
  }

  #advance(slot: Slot): void {
    const next = slot.waiting;
    if (!next || slot.flight || (this.dead && next.kind !== "hello")) return;
    slot.waiting = null;
    slot.flight = next;
    next.id = ++this.#id;
    next.sentAt = performance.now();
    next.acknowledged = false;
    clearTimeout(slot.timer);
    clearTimeout(slot.late);
    slot.late = setTimeout(this.#options.changed, ACK_SOON);
    this.#watch(slot, next);
    this.#post({ kind: next.kind, ...next.payload }, next.id);
  }

  /** Gives the request up when silence is no longer explained by a running cell. */
  #watch(slot: Slot, request: Pending, justBusy = false): void {
    slot.timer = setTimeout(() => {
      const busy = this.#options.busy?.();
      const patient = busy === true || justBusy || (busy === null && performance.now() - request.sentAt < PATIENCE);
      if (patient) this.#watch(slot, request, busy === true);
      else this.#lost();
    }, ACK_TIMEOUT);
  }

  #post(message: object, id: number): void {
    try {
      this.#options.send({ v: PROTOCOL, view: this.#options.view, id, ...message });
    } catch {
      this.#lost();
    }
  }

  /** Nobody answers: what was not acknowledged waits again, unless something newer does. */
  #lost(): void {
    const before = this.dead;
    this.dead = true;
    for (const slot of this.#slots.values()) {
      clearTimeout(slot.timer);
      clearTimeout(slot.late);
      const { flight } = slot;
      if (!flight || flight.acknowledged) continue;
      slot.flight = null;
      if (flight.kind !== "hello") slot.waiting ??= flight;
    }
    if (!before) this.#options.fellSilent?.();
    this.#options.changed();
  }
}
