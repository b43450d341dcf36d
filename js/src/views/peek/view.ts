/**
 * The LogitPeek view: a prompt, sliders, and bars of what comes next, as it is and steered, on the common shell. In: the
 * model and the element of a cell. Out: a run for every move; only the newest waits, so bars follow as fast as the model
 * answers.
 */
import { focusable, h, setText } from "../../core/dom.js";
import { FeatureFinder } from "../../core/feature-finder.js";
import { compact, count, percent, quoted, withSign } from "../../core/format.js";
import type { Mounting } from "../../core/mount.js";
import type { Reply } from "../../core/protocol.js";
import { SettingsPanel } from "../../core/settings-panel.js";
import { Shell } from "../../core/shell.js";
import type { About } from "../../core/slider.js";
import { SliderList } from "../../core/slider-list.js";
import { TextBox } from "../../core/text-box.js";
import type { Traits, WireNext, WirePeek } from "./synced.js";

const given = (value: number | null | undefined): number => value ?? NaN;
const HEADS = [
  ["next token", ""],
  ["as it is", "probability under the untouched model"],
  ["steered", "probability with the sliders' settings"],
  ["Δ ln p", "change of the log-probability, nats"],
  ["rank", "untouched → steered, 1 the likeliest"],
] as const;

type Asked = Pick<Traits, "text" | "chat" | "messages" | "k" | "sliders">;

interface BarRow {
  element: HTMLElement;
  token: HTMLElement;
  bars: [HTMLElement, HTMLElement];
  shares: [HTMLElement, HTMLElement];
  delta: HTMLElement;
  rank: HTMLElement;
}

export class PeekView {
  readonly #shell: Shell<Traits>;
  readonly #sliders: SliderList;
  readonly #finder: FeatureFinder;
  readonly #settings: SettingsPanel;
  readonly #text: TextBox;
  readonly #chat = focusable(h("input", { type: "checkbox" }));
  readonly #chatField = h("label", { class: "ng-field", title: "read it as a user's message, through the model's chat template" }, this.#chat, h("span", { class: "ng-name" }, "chat"));
  readonly #k = focusable(h("input", { type: "number", class: "ng-number", min: 1, max: 50, step: 1, "aria-label": "tokens of each that are shown" }));
  readonly #editor: HTMLElement;
  readonly #body = h("tbody");
  readonly #table: HTMLElement;
  readonly #facts = h("p", { class: "ng-peek-facts" });
  #rows: BarRow[] = [];
  #text0 = "";
  #messages: Traits["messages"] = []; // before it

  constructor(mounting: Mounting<Traits>) {
    const shell = (this.#shell = new Shell(mounting, "peek", "next token"));
    this.#sliders = new SliderList({
      changed: () => this.#run(),
      measure: (features) =>
        shell.ask("calibrate", { features }, ({ error }) => shell.say(error ? error.message : "measured"), () => undefined),
    });
    this.#finder = new FeatureFinder({
      search: (request) => shell.ask("search", request, (reply) => this.#finder.answer(reply)),
      contrast: (request) => shell.ask("contrast", request, (reply) => this.#finder.answer(reply)),
      add: (found) => {
        const known = Object.fromEntries(found.map((one) => [one.id, one]));
        this.#sliders.set([...this.#sliders.sliders, ...found.map(({ slider }) => slider)], known);
      },
    });
    this.#settings = new SettingsPanel(
      () => this.#asked,
      (settings) => shell.ask("settings", { settings }, (reply) => this.#given(reply)),
    );
    this.#text = new TextBox("prompt", "What comes next after this?", (text) => {
      this.#text0 = text;
      this.#run();
    });
    this.#chat.addEventListener("change", () => this.#run());
    this.#k.addEventListener("input", () => {
      const fine = Number.isInteger(Number(this.#k.value)) && Number(this.#k.value) >= 1 && Number(this.#k.value) <= 50;
      this.#k.setAttribute("aria-invalid", String(!fine));
      if (fine) this.#run();
    });
    const fields = h("div", { class: "ng-controls" }, this.#chatField, h("label", { class: "ng-field" }, h("span", { class: "ng-name" }, "likeliest"), this.#k));
    this.#editor = h("div", { class: "ng-editor" }, this.#text.element, fields);
    const head = h("tr", {}, ...HEADS.map(([name, title]) => h("th", { scope: "col", title: title || null }, name)));
    this.#table = h("table", { class: "ng-next" }, h("thead", {}, head), this.#body);
    const part = {
      body: [this.#sliders.element, this.#finder.element, this.#settings.element, this.#editor, h("div", { class: "ng-next-box" }, this.#table), this.#facts],
      size: () => {
        const pieces = shell.synced.get("frame").prompt?.pieces;
        return pieces ? count(pieces.length, "token") : null;
      },
      empty: () => (shell.synced.get("frame").rows ? null : "Nothing to show yet."),
      notice: () => null,
      escape: () => shell.tip.hide(),
    };
    shell.open(mounting.el, part, () => {
      this.#showSettings();
      this.#showFrame();
    });
    shell.on(["frame"], () => {
      shell.rpc.alive();
      this.#showFrame();
    });
    shell.on(["text", "chat", "messages", "k", "sliders", "choices", "live"], () => {
      if (!shell.running && !this.#text.composing) this.#showSettings();
    });
    shell.on(["known"], () => this.#showSliders());
  }

  get #asked(): Asked {
    return { text: this.#text0, chat: this.#chat.checked, messages: this.#messages, k: Number(this.#k.value), sliders: this.#sliders.sliders };
  }

  #run(): void {
    if (!this.#shell.live) return;
    this.#shell.run(this.#asked);
    this.#settings.show(true);
    this.#shell.show();
  }

  /** What the kernel read in pasted settings: it is run as if a person had set all of it by hand. */
  #given(reply: Reply & { settings?: Asked; known?: Record<string, About> }): void {
    if (reply.settings) {
      this.#fields(reply.settings);
      this.#sliders.set(reply.settings.sliders, reply.known);
    }
    this.#settings.answer(reply);
  }

  #fields({ text, chat, messages, k }: Omit<Asked, "sliders">): void {
    this.#text0 = this.#text.value = text;
    this.#chat.checked = chat;
    this.#messages = messages;
    this.#k.value = String(k);
    this.#k.setAttribute("aria-invalid", "false");
  }

  #showSettings(): void {
    const { synced, live } = this.#shell;
    this.#fields({ text: synced.get("text"), chat: synced.get("chat"), messages: synced.get("messages"), k: synced.get("k") });
    this.#chatField.hidden = !synced.get("choices").chat;
    this.#finder.offer(synced.get("choices"));
    this.#finder.element.hidden = this.#editor.hidden = !live;
    this.#sliders.show(synced.get("sliders"), synced.get("known"), synced.get("choices"), live);
    this.#settings.show(live);
  }

  #showSliders(): void {
    const { synced, live } = this.#shell;
    this.#sliders.show(this.#sliders.sliders, synced.get("known"), synced.get("choices"), live);
  }

  #showFrame(): void {
    const wire = this.#shell.synced.get("frame");
    if (!wire.rows) return;
    const frame = wire as WirePeek;
    this.#shell.frame(frame, () => this.#draw(frame));
  }

  #draw(frame: WirePeek): void {
    const { rows, rest, kl, change, active } = frame;
    const most = Math.max(...rows.flatMap(({ base, steered }) => [base ?? 0, steered ?? 0]), 1e-9);
    while (this.#rows.length > rows.length) this.#rows.pop()?.element.remove();
    rows.forEach((row, i) => this.#show((this.#rows[i] ??= this.#make()), row, most));
    const known = this.#shell.synced.get("known");
    const said = [
      `KL(base‖steered) ${compact(given(kl))} nats`,
      ...Object.entries(change).map(([site, share]) => `‖Δ‖/‖h‖ at ${site} ${compact(given(share))}`),
      ...Object.entries(active).map(([id, value]) => `activation of ${known[id]?.label ?? id} ${compact(given(value))}`),
      `all other tokens ${percent(Math.log(given(rest[0])))} → ${percent(Math.log(given(rest[1])))}`,
    ];
    setText(this.#facts, said.join(" · "));
    this.#facts.title = "at the prompt's last token; KL: Σ p·ln(p/q) over the next token, p untouched, q steered; ‖Δ‖: how far the edits move the vector";
  }

  #make(): BarRow {
    const [token, delta, rank] = [h("th", { scope: "row", class: "ng-piece" }), h("td", { class: "ng-num" }), h("td", { class: "ng-num" })];
    const bars: [HTMLElement, HTMLElement] = [h("span", { class: "ng-bar ng-bar-base" }), h("span", { class: "ng-bar" })];
    const shares: [HTMLElement, HTMLElement] = [h("span", { class: "ng-num" }), h("span", { class: "ng-num" })];
    const cell = (k: 0 | 1): HTMLElement => h("td", { class: "ng-share" }, bars[k], shares[k]);
    const element = h("tr", {}, token, cell(0), cell(1), delta, rank);
    this.#body.append(element);
    return { element, token, bars, shares, delta, rank };
  }

  #show(view: BarRow, row: WireNext, most: number): void {
    setText(view.token, quoted(row.token));
    view.token.title = `token ${row.id}`;
    [row.base, row.steered].forEach((share, k) => {
      const [bar, text] = [view.bars[k as 0 | 1], view.shares[k as 0 | 1]];
      bar.style.width = `${Math.round((1000 * (share ?? 0)) / most) / 10}%`;
      setText(text, percent(Math.log(given(share))));
    });
    setText(view.delta, withSign(given(row.delta)));
    setText(view.rank, row.rank === row.rank_in_base ? String(row.rank) : `${row.rank_in_base} → ${row.rank}`);
  }
}
