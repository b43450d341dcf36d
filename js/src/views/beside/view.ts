/**
 * Views side by side where there is room, below each other where there is none. In: references to other views, and the
 * host that can draw them. Out: one slot for each. A view that stays in the list stays as it is on the page.
 */
import { h } from "../../core/dom.js";
import { failed, mountRef } from "../../core/host.js";
import { listen } from "../../core/model.js";
import type { Mounting } from "../../core/mount.js";
import { followTheme } from "../../core/theme.js";
import type { Traits } from "./synced.js";

interface Slot {
  ref: string;
  el: HTMLElement;
  life: AbortController;
}

export class BesideView {
  readonly root = h("div", { class: "ng ng-beside", role: "region", "aria-label": "views side by side" });
  #slots: Slot[] = [];

  constructor(private readonly mounting: Mounting<Traits>) {
    const { model, el, signal } = mounting;
    el.append(this.root);
    signal.addEventListener("abort", () => {
      for (const { life } of this.#slots) life.abort();
      this.root.remove();
    });
    const look = followTheme(
      this.root,
      () => model.get("theme"),
      (theme) => {
        this.root.dataset.theme = theme;
      },
      signal,
    );
    listen(model, "change:theme", signal, look);
    for (const name of ["change:views", "change:error"]) {
      listen(model, name, signal, () => {
        this.#draw();
      });
    }
    this.root.dataset.status = "static"; // its views speak for themselves
    this.#draw();
  }

  #draw(): void {
    const { host, model } = this.mounting;
    if (!host) {
      const what = "This notebook's widget support can't place one view inside another. Show them in a box instead:";
      this.root.replaceChildren(failed("Not here", what, h("p", {}, h("code", {}, "view.as_box()"))));
      return;
    }
    const old = this.#slots;
    this.#slots = model.get("views").map((ref) => old.find((slot) => slot.ref === ref) ?? this.#open(ref));
    for (const slot of old) if (!this.#slots.includes(slot)) slot.life.abort();
    const error = model.get("error");
    this.root.replaceChildren(
      ...(error ? [failed(error.type, error.message)] : []),
      ...this.#slots.map(({ el }) => el),
      ...(this.#slots.length || error ? [] : [h("p", { class: "ng-empty" }, "No views to show yet.")]),
    );
  }

  #open(ref: string): Slot {
    const slot = { ref, el: h("div", { class: "ng-slot" }), life: new AbortController() };
    void mountRef(this.mounting.host, ref, slot.el, slot.life.signal);
    return slot;
  }
}
