/**
 * The panel under the rows about the selected token. In: a row and position, later the kernel's answer (the exact
 * value, the features that fire strongest here). Out: an element; clicks on a chip ask for that feature as a row.
 */
import { button, h } from "../../core/dom.js";
import { ENTROPY } from "../../core/facts.js";
import { compact, withSign } from "../../core/format.js";
import type { Row } from "../../core/picture.js";
import type { ErrorInfo, Reply } from "../../core/protocol.js";
import { factList, pieceText, ranking, reasonList } from "./facts.js";

export interface DetailActions {
  close: () => void;
  add: (key: string, feature: number) => void;
}

interface Strong {
  feature: number;
  key: string; // names its row
  value: number;
}

export class Detail {
  readonly element = h("section", { class: "ng-detail", "aria-label": "selected token", hidden: true });
  #answer: HTMLElement | null = null;
  #exact: HTMLElement | null = null;

  constructor(private readonly actions: DetailActions) {}

  hide(): void {
    this.element.hidden = true;
    this.element.replaceChildren();
  }

  /** Draws what the frame knows; `live` leaves room for the kernel's answer. */
  show(row: Row, i: number, live: boolean): void {
    const entropy = row.seq.entropy?.[i];
    const more: [string, string | Node, string][] = [];
    this.#exact = null;
    if (live) {
      this.#exact = h("span", { class: "ng-exact" }, "…");
      more.push(["exact value", this.#exact, "as computed, before any rounding on its way to the browser"]);
    }
    if (entropy !== undefined && !Number.isNaN(entropy)) more.push(["entropy", `${compact(entropy)} nats`, ENTROPY]);
    this.#answer = live ? h("div", { class: "ng-answer", "aria-busy": "true" }, h("span", { class: "ng-quiet" }, "asking the kernel…")) : null;
    this.element.replaceChildren(
      h(
        "header",
        { class: "ng-detail-head" },
        h("strong", { class: "ng-piece", dir: "auto" }, pieceText(row, i)),
        h("span", { class: "ng-quiet" }, row.label),
        button("×", { class: "ng-icon ng-detail-close", "aria-label": "close", title: "close (Escape)" }, this.actions.close),
      ),
      h(
        "div",
        { class: "ng-columns" },
        h("div", {}, factList(row, i, more), ...reasonList(row, i)),
        ranking("expected here", row.seq, i - 1, i),
        ranking("predicts next", row.seq, i, i + 1 < row.seq.pieces.length ? i + 1 : null),
      ),
      ...(this.#answer ? [this.#answer] : []),
    );
    this.element.hidden = false;
  }

  /** The kernel's answer to what is shown. `shown` are the keys of the rows. */
  answer(reply: Reply, shown: ReadonlySet<string>): void {
    if (!this.#answer) return;
    this.#answer.removeAttribute("aria-busy");
    if (reply.error) {
      this.#answer.replaceChildren(failure(reply.error));
      if (this.#exact) this.#exact.textContent = "not known";
      return;
    }
    const value = typeof reply.value === "number" ? reply.value : NaN;
    if (this.#exact) this.#exact.textContent = compact(value, 7);
    const strongest = Array.isArray(reply.strongest) ? (reply.strongest as Strong[]) : [];
    this.#answer.replaceChildren(
      ...(strongest.length
        ? [
            h("span", { class: "ng-caption" }, "strongest here"),
            h(
              "div",
              { class: "ng-chips" },
              ...strongest.map(({ feature, key, value: v }) => {
                const has = shown.has(key);
                const title = has ? `${feature} has a row already` : `show feature ${feature} as a row`;
                const chip = button("", { class: "ng-chip", title, disabled: has }, () => {
                  this.actions.add(key, feature);
                });
                chip.append(h("b", {}, String(feature)), " ", h("span", {}, withSign(v)));
                return chip;
              }),
            ),
          ]
        : []),
    );
  }
}

function failure({ message, hint }: ErrorInfo): HTMLElement {
  return h("p", { class: "ng-failure", role: "alert" }, message, hint ? h("span", { class: "ng-hint" }, ` ${hint}`) : null);
}
