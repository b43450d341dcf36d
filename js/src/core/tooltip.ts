/**
 * The one floating note of a view. In: an anchor and the content. Out: a box beside the anchor that flips at the
 * edges of the window and never takes the pointer. It uses the browser's top layer where there is one, because
 * notebooks clip and contain their output areas; elsewhere it is placed inside the view.
 */
import { h } from "./dom.js";

const GAP = 6;
const EDGE = 4;

export class Tooltip {
  readonly element = h("div", { class: "ng-tip", role: "tooltip", hidden: true });
  readonly #topLayer: boolean;

  constructor() {
    this.#topLayer = typeof this.element.showPopover === "function";
    if (this.#topLayer) this.element.setAttribute("popover", "manual");
  }

  get visible(): boolean {
    return !this.element.hidden;
  }

  show(anchor: Element, content: readonly Node[]): void {
    const { element } = this;
    element.replaceChildren(...content);
    element.hidden = false;
    if (this.#topLayer && element.isConnected && !element.matches(":popover-open")) element.showPopover();
    // of a token that breaks over two lines, the first part is the anchor
    const box = anchor.getClientRects()[0] ?? anchor.getBoundingClientRect();
    const { innerWidth: width, innerHeight: height } = window;
    const tip = element.getBoundingClientRect();
    const below = box.bottom + GAP + tip.height <= height - EDGE || box.top - GAP - tip.height < EDGE;
    const top = below ? box.bottom + GAP : box.top - GAP - tip.height;
    const left = Math.max(EDGE, Math.min(box.left, width - tip.width - EDGE));
    const origin = this.#topLayer ? { left: 0, top: 0 } : (element.offsetParent?.getBoundingClientRect() ?? { left: 0, top: 0 });
    element.style.left = `${Math.round(left - origin.left)}px`;
    element.style.top = `${Math.round(top - origin.top)}px`;
  }

  hide(): void {
    const { element } = this;
    if (element.hidden) return;
    if (this.#topLayer && element.isConnected && element.matches(":popover-open")) element.hidePopover();
    element.hidden = true;
  }
}
