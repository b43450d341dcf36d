/**
 * Settings as JSON, to be copied out of one session and pasted into another. In: the present settings, and whether a
 * kernel is there. Out: `apply` with the text, which the kernel reads; its answer comes back as `answer`. What a person
 * has typed stays until it was taken or they ask for the present settings.
 */
import { copyText } from "./clipboard.js";
import { button, focusable, h, setText } from "./dom.js";
import type { Reply } from "./protocol.js";
import "./settings.css";

/** JSON with a line for each setting, and for each slider or message. */
function written(settings: object): string {
  const listed = (value: unknown): string =>
    Array.isArray(value) && typeof value[0] === "object" ? `[\n${value.map((one) => `  ${JSON.stringify(one)}`).join(",\n")}\n ]` : JSON.stringify(value);
  return `{\n${Object.entries(settings).map(([name, value]) => ` "${name}": ${listed(value)}`).join(",\n")}\n}`;
}

const SAME = "These are the present settings: paste others here, or change them.";

export class SettingsPanel {
  readonly element: HTMLDetailsElement;
  readonly #area = focusable(h("textarea", { class: "ng-json", rows: 9, dir: "ltr", spellcheck: "false", autocomplete: "off", autocapitalize: "off", "aria-label": "settings as JSON", title: "Ctrl+Enter applies" }));
  readonly #apply: HTMLButtonElement;
  readonly #back: HTMLButtonElement;
  readonly #said = h("p", { class: "ng-told", role: "status" });
  #text = "";

  constructor(
    private readonly now: () => object,
    private readonly apply: (text: string) => void,
  ) {
    const copy = button("Copy", { class: "ng-button" }, () => {
      void copyText(this.#area.value, this.element).then((done) => this.#say(done ? "Copied." : "The browser does not allow it: copy the text by hand."));
    });
    this.#apply = button("Apply", { class: "ng-button" }, () => this.#send());
    this.#back = button("Show the present ones", { class: "ng-button", hidden: true }, () => {
      this.#reset();
      this.#say("");
    });
    this.element = h(
      "details",
      { class: "ng-settings" },
      focusable(h("summary", { title: "all settings as JSON: copy them, or paste those of another session" }, "Settings")),
      this.#area,
      h("div", { class: "ng-settings-line" }, copy, this.#apply, this.#back),
      this.#said,
    );
    this.element.addEventListener("toggle", () => this.#fill());
    this.#area.addEventListener("input", () => {
      this.#mark(false);
      this.#back.hidden = !this.#edited;
    });
    this.#area.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !this.#apply.hidden) this.#send();
    });
  }

  /** What a person typed is not what was shown. */
  get #edited(): boolean {
    return this.#area.value !== this.#text;
  }

  /** The settings may be others now. */
  show(live: boolean): void {
    this.#apply.hidden = !live;
    this.#area.readOnly = !live;
    this.#fill();
  }

  /** What the kernel says to the text; true: it was taken. */
  answer({ error }: Reply): boolean {
    this.#mark(Boolean(error));
    this.#say(error ? [error.message, error.hint].filter(Boolean).join(" ") : "Applied.");
    if (!error) this.#reset();
    return !error;
  }

  #fill(): void {
    if (this.element.open && !this.#edited) this.#reset();
  }

  #reset(): void {
    this.#text = written(this.now());
    this.#area.value = this.#text;
    this.#text = this.#area.value; // as the browser keeps it
    this.#back.hidden = true;
    this.#mark(false);
  }

  #send(): void {
    if (!this.#edited) {
      this.#say(SAME);
      return;
    }
    this.#say("reading…");
    this.apply(this.#area.value);
  }

  #mark(wrong: boolean): void {
    this.#area.setAttribute("aria-invalid", String(wrong));
    if (!wrong && this.#said.classList.contains("ng-failure")) this.#say("");
    this.#said.classList.toggle("ng-failure", wrong);
  }

  #say(text: string): void {
    setText(this.#said, text);
  }
}
