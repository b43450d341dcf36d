/**
 * What the tests share: a model with traits and a comm that records what is sent, and frames made by hand. In: traits
 * to override. Out: a mounted view whose kernel the test plays itself.
 */
import { vi } from "vitest";
import type { Packed } from "../src/core/codec.js";
import type { Model } from "../src/core/model.js";
import type { Entry } from "../src/core/mount.js";
import type { WireFrame, WireRow, WireSequence } from "../src/core/protocol.js";
import heatmap from "../src/views/heatmap/index.js";
import type { Traits } from "../src/views/heatmap/synced.js";

type Callback = (...args: unknown[]) => void;
export interface Sent {
  v: number;
  view: string;
  id: number;
  kind: string;
  [key: string]: unknown;
}

export const VERSION = "9.9.9";

export function pack(dtype: Packed["dtype"], values: readonly number[], shape = [values.length]): Packed {
  const width = dtype === "f32" || dtype === "i32" ? 4 : 1;
  const data = new DataView(new ArrayBuffer(values.length * width + 1), 1); // unaligned, as from a comm
  values.forEach((value, i) => {
    if (dtype === "f32") data.setFloat32(4 * i, value, true);
    else if (dtype === "i32") data.setInt32(4 * i, value, true);
    else data.setUint8(i, value);
  });
  return { dtype, shape, data };
}

export function seq(pieces: string[], more: Partial<WireSequence> = {}): WireSequence {
  return { pieces, kinds: pack("u8", pieces.map(() => 0)), ids: null, masked: null, logprobs: null, entropy: null, top: null, ...more };
}

export function row(values: number[], more: Partial<WireRow> = {}): WireRow {
  const finite = values.filter(Number.isFinite).map(Math.abs);
  const hi = Math.max(0, ...finite);
  return { label: "neurons.10 / 77", feature: 77, key: `neurons.10/${more.feature ?? 77}`, seq: 0, values: pack("f32", values), signed: false, domain: [more.signed ? -hi : 0, hi], ...more };
}

export function frame(pieces: string[], rows: WireRow[], more: Partial<WireFrame> = {}): WireFrame {
  return { id: 0, view: "", text: pieces.join(""), site: "neurons", layer: 10, features: [77], source: "neurons.10", seqs: [seq(pieces)], rows, notice: null, ...more };
}

export const TRAITS: Traits = {
  _version: VERSION,
  live: false,
  title: "tiny · fp32 · cpu",
  text: "",
  site: "neurons",
  layer: 10,
  features: [],
  locked: [],
  compare: "",
  across: false,
  choices: {
    sites: [
      { name: "neurons", layers: 30, width: 1536, what: "" },
      { name: "resid_post", layers: 12, width: 576, what: "" },
      { name: "mlp_out", layers: 12, width: 576, what: "" },
      { name: "embed", layers: 0, width: 576, what: "" },
    ],
    context: 64,
    quantities: [
      { key: "surprise", label: "surprise (nats)" },
      { key: "rank", label: "rank" },
    ],
  },
  frame: {},
  selected: null,
  token: null,
  feature: "",
  scale: "row",
  wrap: true,
  arrange: "auto",
  theme: "auto",
  error: null,
  code: "",
};

export class FakeModel<T extends object = Traits> implements Model<T> {
  readonly sent: Sent[] = [];
  readonly callbacks = new Map<string, Set<Callback>>();
  saved = 0;
  broken = false;
  constructor(readonly traits: T) {}

  get = <K extends keyof T & string>(key: K): T[K] => this.traits[key];
  set = <K extends keyof T & string>(key: K, value: T[K]): void => {
    this.traits[key] = value;
    this.emit(`change:${key}`);
  };
  save_changes = (): void => {
    this.saved++;
  };
  send = (message: unknown): void => {
    if (this.broken) throw new Error("Comm is closed");
    this.sent.push(message as Sent);
  };
  on = (event: string, callback: Callback): void => {
    this.callbacks.set(event, (this.callbacks.get(event) ?? new Set()).add(callback));
  };
  off = (event: string, callback: Callback): void => {
    this.callbacks.get(event)?.delete(callback);
  };
  emit(event: string, ...args: unknown[]): void {
    for (const callback of [...(this.callbacks.get(event) ?? [])]) callback(...args);
  }
  get listeners(): number {
    return [...this.callbacks.values()].reduce((sum, set) => sum + set.size, 0);
  }

  /** All requests of a kind, oldest first. */
  of(kind: string): Sent[] {
    return this.sent.filter((message) => message.kind === kind);
  }
  last(kind: string): Sent {
    const message = this.of(kind).at(-1);
    if (!message) throw new Error(`no ${kind} was sent`);
    return message;
  }
  reply(to: Sent, answer: Record<string, unknown> = {}): void {
    this.emit("msg:custom", { v: 1, view: to.view, id: to.id, seq: 0, done: false, ...answer });
  }
}

export interface Mounted<T extends object = Traits> {
  model: FakeModel<T>;
  el: HTMLElement;
  root: HTMLElement;
  end: () => void;
  $: (selector: string) => HTMLElement;
  $$: (selector: string) => HTMLElement[];
}

/** Any view, in an element of the page. */
export function mountView<T extends object>(view: Entry<T>, traits: T, signal?: AbortSignal): Mounted<T> {
  const model = new FakeModel(traits);
  const el = document.createElement("div");
  document.body.append(el);
  const end = view.render({ model, el, ...(signal && { signal }) });
  const $ = (selector: string): HTMLElement => {
    const found = el.querySelector<HTMLElement>(selector);
    if (!found) throw new Error(`nothing matches ${selector}`);
    return found;
  };
  const $$ = (selector: string): HTMLElement[] => [...el.querySelectorAll<HTMLElement>(selector)];
  return { model, el, root: el.querySelector<HTMLElement>(".ng") ?? el, end, $, $$ };
}

/** Answers the hello of a live view; one without a kernel says none. */
export function greet<T extends object>(mounted: Mounted<T>): Mounted<T> {
  for (const hello of mounted.model.of("hello")) {
    mounted.model.reply(hello);
    mounted.model.reply(hello, { seq: 1, done: true, version: VERSION });
  }
  return mounted;
}

/** A heatmap. */
export const mount = (traits: Partial<Traits> = {}, signal?: AbortSignal): Mounted => mountView(heatmap, { ...TRAITS, ...traits }, signal);

/** A live heatmap whose hello was answered. */
export const mountLive = (traits: Partial<Traits> = {}): Mounted => greet(mount({ live: true, ...traits }));

/** Types into a field as a person would. */
export function type(field: HTMLElement, text: string): void {
  (field as HTMLInputElement).value = text;
  field.dispatchEvent(new Event("input", { bubbles: true }));
}

export function key(target: HTMLElement, name: string): KeyboardEvent {
  const event = new KeyboardEvent("keydown", { key: name, bubbles: true, cancelable: true });
  target.dispatchEvent(event);
  return event;
}

/** The kernel's answer to a request. */
export function answer<T extends object>(model: FakeModel<T>, to: Sent | undefined, body: object = {}, done = true): void {
  if (!to) throw new Error("nothing was asked");
  model.reply(to, { seq: 1, done, ...body });
}

/** The element that is there. */
export function q(el: HTMLElement, selector: string): HTMLElement {
  const found = el.querySelector<HTMLElement>(selector);
  if (!found) throw new Error(`there is no ${selector}`);
  return found;
}

/** The button of this name. */
export function buttonOf(el: HTMLElement, name: string): HTMLButtonElement {
  const found = [...el.querySelectorAll("button")].find((one) => (one.getAttribute("aria-label") ?? one.textContent) === name);
  if (!found) throw new Error(`there is no button ${name}`);
  return found;
}

/** An IntersectionObserver that the test drives. */
export class FakeObserver {
  static all: FakeObserver[] = [];
  readonly targets = new Set<Element>();
  disconnected = false;
  constructor(readonly callback: IntersectionObserverCallback) {
    FakeObserver.all.push(this);
  }
  observe = (element: Element): void => {
    this.targets.add(element);
  };
  unobserve = (element: Element): void => {
    this.targets.delete(element);
  };
  disconnect = (): void => {
    this.disconnected = true;
  };
  show(element: Element, isIntersecting: boolean): void {
    this.callback([{ target: element, isIntersecting } as IntersectionObserverEntry], this as unknown as IntersectionObserver);
  }
  static install(): void {
    FakeObserver.all = [];
    vi.stubGlobal("IntersectionObserver", FakeObserver);
  }
}
