/**
 * What surrounds every picture: title, status, Stop, copy as code, banner, error box, notice and the empty state. In:
 * texts and flags. Out: elements that show or hide them. Knows nothing of traits or requests.
 */
import { copyText } from "./clipboard.js";
import { button, h, setText } from "./dom.js";
import type { ErrorInfo } from "./protocol.js";

const SILENT =
  "The kernel does not answer: a cell is running and this notebook lets widgets answer only between cells, or the kernel " +
  "was restarted or stopped. The last result is shown; your newest change goes out when there is an answer.";

export interface ChromeActions {
  stop: () => void;
  retry: () => void;
  code: () => string;
}

export class Chrome {
  readonly head: HTMLElement;
  readonly banner = h("div", { class: "ng-banner", role: "status", hidden: true });
  readonly error = h("div", { class: "ng-error", role: "alert", hidden: true });
  readonly empty = h("p", { class: "ng-empty", hidden: true });
  readonly notice = h("p", { class: "ng-notice", role: "note", hidden: true });
  readonly stop: HTMLButtonElement;
  readonly #title = h("span", { class: "ng-title" });
  readonly #status = h("span", { class: "ng-status" });
  readonly #copy: HTMLButtonElement;
  #bannerText = "";

  constructor(private readonly actions: ChromeActions) {
    this.stop = button("Stop", { class: "ng-button ng-stop", hidden: true, title: "stop this run" }, actions.stop);
    this.#copy = button("Copy code", { class: "ng-button ng-copy", title: "copy the Python that makes this view again" }, () => {
      void this.#copyCode();
    });
    this.head = h("header", { class: "ng-head" }, this.#title, h("div", { class: "ng-tools" }, this.#status, this.stop, this.#copy));
  }

  show({ title, code, notice }: { title: string; code: string; notice: string | null }): void {
    setText(this.#title, title);
    this.#title.title = title;
    this.#copy.hidden = !code;
    this.notice.hidden = !notice;
    setText(this.notice, notice ?? "");
  }

  showStatus(text: string): void {
    setText(this.#status, text);
  }

  showEmpty(text: string | null): void {
    this.empty.hidden = text === null;
    setText(this.empty, text ?? "");
  }

  showBanner(dead: boolean, stale: { bundle: string; python: string } | null): void {
    const text = JSON.stringify([dead, stale]);
    if (text === this.#bannerText) return;
    this.#bannerText = text;
    const lines: Node[] = [];
    if (stale) {
      lines.push(
        h(
          "p",
          {},
          `This page still runs the front end of neuroglass ${stale.bundle}, the kernel has ${stale.python || "an unknown version"}. ` +
            "Restart the kernel, then reload the page.",
        ),
      );
    }
    if (dead) lines.push(h("p", {}, SILENT), button("Try again", { class: "ng-button ng-retry" }, this.actions.retry));
    this.banner.replaceChildren(...lines);
    this.banner.hidden = lines.length === 0;
  }

  showError(error: ErrorInfo | null): void {
    this.error.hidden = error === null;
    if (!error) {
      this.error.replaceChildren();
      return;
    }
    this.error.replaceChildren(
      h("p", {}, h("strong", {}, error.type), " ", h("span", { class: "ng-message" }, error.message)),
      ...(error.hint ? [h("p", { class: "ng-hint" }, error.hint)] : []),
    );
  }

  async #copyCode(): Promise<void> {
    const code = this.actions.code();
    const done = await copyText(code, this.head);
    this.#copy.textContent = done ? "Copied" : "Not allowed to copy";
    if (!done) this.#copy.title = code;
    setTimeout(() => {
      this.#copy.textContent = "Copy code";
    }, 1_500);
  }
}
