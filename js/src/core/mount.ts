/**
 * The entry that anywidget imports, for every view. In: a function that builds the view in an element. Out: the module
 * with `render`; whatever goes wrong while the view is built is told in the cell.
 */
import "./core.css";
import { describe, h } from "./dom.js";
import type { Host, Model } from "./model.js";

export interface RenderContext<T extends object> {
  model: Model<T>;
  el: HTMLElement;
  signal?: AbortSignal; // missing in older anywidget
  host?: Host; // missing in older anywidget
}

export interface Mounting<T extends object> {
  model: Model<T>;
  el: HTMLElement;
  signal: AbortSignal;
  host: Host | undefined;
}

export interface Entry<T extends object> {
  render: (context: RenderContext<T>) => () => void;
}

export function entry<T extends object>(build: (mounting: Mounting<T>) => unknown): Entry<T> {
  const render = ({ model, el, signal, host }: RenderContext<T>): (() => void) => {
    const lifetime = new AbortController();
    const end = (): void => {
      lifetime.abort();
    };
    if (signal?.aborted) return end;
    el.classList.add("ng-host"); // in a box, views share the width
    signal?.addEventListener("abort", end, { once: true });
    try {
      build({ model, el, signal: lifetime.signal, host });
    } catch (thrown) {
      lifetime.abort();
      const { type, message } = describe(thrown);
      el.replaceChildren(h("div", { class: "ng" }, h("div", { class: "ng-error", role: "alert" }, h("strong", {}, type), ` ${message}`)));
    }
    return end;
  };
  return { render };
}
