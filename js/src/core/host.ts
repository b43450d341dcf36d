/**
 * Views inside views. In: what the host gives a view for that, a reference ("anywidget:<model id>", as Python sends
 * it), an element and a signal. Out: the other view drawn in the element until the signal ends; a failure is told in
 * its place and is never thrown: the other slots of a dashboard go on.
 */
import { describe, h } from "./dom.js";
import type { Host } from "./model.js";

/** Something could not be placed here. */
export const failed = (type: string, message: string, ...more: Node[]): HTMLElement =>
  h("div", { class: "ng-error ng-slot-failed", role: "alert" }, h("p", {}, h("strong", {}, type), " ", message), ...more);

export async function mountRef(host: Host | undefined, ref: string, el: HTMLElement, signal: AbortSignal): Promise<void> {
  if (!host) {
    el.replaceChildren(failed("No host", "This notebook's widget support is too old to place one view inside another."));
    return;
  }
  try {
    const widget = await host.getWidget(ref);
    if (signal.aborted) return;
    await widget.render({ el, signal });
  } catch (thrown) {
    if (signal.aborted) return;
    const { type, message } = describe(thrown);
    el.replaceChildren(failed(type, message, h("p", { class: "ng-hint" }, "The view that belongs here is not in this page; run its cell again.")));
  }
}
