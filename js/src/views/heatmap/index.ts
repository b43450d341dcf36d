/**
 * Entry of the TokenHeatmap bundle: what anywidget imports. In: model, element and (in newer hosts) a signal. Out: the
 * mounted view and a cleanup that ends it; whatever goes wrong while it is built is told in the cell.
 */
import "../../core/core.css";
import "./style.css";
import { describe, h } from "../../core/dom.js";
import type { Model } from "../../core/model.js";
import type { Traits } from "./synced.js";
import { HeatmapView } from "./view.js";

export interface RenderContext {
  model: Model<Traits>;
  el: HTMLElement;
  signal?: AbortSignal; // missing in older anywidget
}

function render({ model, el, signal }: RenderContext): () => void {
  const lifetime = new AbortController();
  const end = (): void => {
    lifetime.abort();
  };
  if (signal?.aborted) return end;
  el.classList.add("ng-host"); // in a box, views share the width
  signal?.addEventListener("abort", end, { once: true });
  try {
    new HeatmapView(model, el, lifetime.signal);
  } catch (thrown) {
    lifetime.abort();
    const { type, message } = describe(thrown);
    el.replaceChildren(h("div", { class: "ng" }, h("div", { class: "ng-error", role: "alert" }, h("strong", {}, type), ` ${message}`)));
  }
  return end;
}

export default { render };
