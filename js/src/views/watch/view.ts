/**
 * The Watch view: the newest texts that went through the model, with the tokens at which watched features fired, and a list
 * of the firings. In: the model and the element of a cell; the kernel sets the frame while the model runs. Out: DOM that
 * is reused from one frame to the next.
 */
import { shade } from "../../core/colour.js";
import { focusable, h, setText } from "../../core/dom.js";
import { compact, count, quoted } from "../../core/format.js";
import type { Mounting } from "../../core/mount.js";
import { SettingsPanel } from "../../core/settings-panel.js";
import { Shell } from "../../core/shell.js";
import { Strip } from "../../core/strip.js";
import { TokenPointer } from "../../core/token-pointer.js";
import type { Traits, WireFiring, WireWatch, WireWatched } from "./synced.js";

const LISTED = 40; // firings in the list, newest first
const DONE: Record<string, string> = { mark: "marked", stop: "ends the text", clamp: "clamped" };

interface TextView {
  element: HTMLElement;
  head: HTMLElement;
  strip: Strip;
  pointer: TokenPointer;
  text: WireWatched | null;
  fired: Map<number, WireFiring[]>;
}

export class WatchView {
  readonly #shell: Shell<Traits>;
  readonly #settings: SettingsPanel;
  readonly #watched = h("p", { class: "ng-watched" });
  readonly #texts = h("div", { class: "ng-watch-texts" });
  readonly #list = h("tbody");
  readonly #table = focusable(h("table", { class: "ng-firings", tabindex: 0, "aria-label": "where features fired, newest first" }, h("thead", {}, h("tr", {}, ...["run", "token", "feature", "value", "threshold"].map((name) => h("th", { scope: "col" }, name)))), this.#list));
  #views: TextView[] = [];

  constructor(mounting: Mounting<Traits>) {
    const shell = (this.#shell = new Shell(mounting, "watch", "watched features"));
    this.#settings = new SettingsPanel(
      () => this.#frame?.settings ?? {},
      (settings) => shell.ask("settings", { settings }, (reply) => this.#settings.answer(reply)),
    );
    const part = {
      body: [this.#watched, this.#settings.element, this.#texts, this.#table],
      size: () => this.#frame && count(this.#frame.total, "firing"),
      empty: () => (this.#frame?.texts.length ? null : "Nothing has gone through the model yet: watch.generate(…), or with model.edit(watch)."),
      notice: () => this.#notice(),
      escape: () => shell.tip.hide(),
    };
    shell.open(mounting.el, part, () => this.#draw());
    shell.on(["frame"], () => {
      shell.rpc.alive();
      this.#draw();
    });
    shell.on(["live"], () => this.#settings.show(shell.live));
  }

  get #frame(): WireWatch | null {
    const frame = this.#shell.synced.get("frame");
    return frame.texts ? (frame as WireWatch) : null;
  }

  #notice(): string | null {
    const frame = this.#frame;
    if (!frame) return null;
    const rows = frame.texts.reduce((sum, { left_out }) => sum + left_out, 0);
    const said = [
      ...(frame.older ? [`Texts shown: the newest ${frame.texts.length} of ${frame.texts.length + frame.older}.`] : []),
      ...(rows ? [`${count(rows, "token")} at the ends of texts are not drawn.`] : []),
      ...(frame.firings.length < frame.total ? [`Firings shown: ${frame.firings.length} of ${frame.total}; all of them: watch.to_frame().`] : []),
    ];
    return said.join(" ") || null;
  }

  #draw(): void {
    const frame = this.#frame;
    if (!frame) return;
    this.#settings.show(this.#shell.live);
    this.#shell.frame({}, () => {
      const label = new Map(frame.features.map((one) => [one.id, one]));
      const action = frame.action === "clamp" ? `clamped to ${compact(frame.value ?? NaN)}` : (DONE[frame.action] ?? frame.action);
      setText(this.#watched, `${frame.features.map((one) => `${one.label} > ${compact(one.limit ?? NaN)}`).join(" · ")} — ${action}`);
      // a text's first token can have values of another size in it (massive activations): the others make the scale
      const later = frame.firings.filter(([, , position]) => position > 0);
      const most = new Map<string, number>();
      for (const [, , , id, value] of later) most.set(id, Math.max(most.get(id) ?? 0, value ?? 0));
      while (this.#views.length > frame.texts.length) this.#views.pop()?.element.remove();
      frame.texts.forEach((text, k) => {
        const view = (this.#views[k] ??= this.#make(label));
        view.text = text;
        view.fired = new Map();
        for (const firing of frame.firings) {
          if (firing[0] === text.text && firing[1] === text.row) view.fired.set(firing[2], [...(view.fired.get(firing[2]) ?? []), firing]);
        }
        setText(view.head, `run ${text.text + 1}${text.row ? `, row ${text.row + 1}` : ""} · ${count(view.fired.size, "token")} fired`);
        view.strip.element.setAttribute("aria-label", `tokens of run ${text.text + 1}`);
        view.strip.update(text.pieces, (i) => this.#classOf(view, most, i));
      });
      this.#list.replaceChildren(
        ...frame.firings.slice(-LISTED).reverse().map(([text, row, position, id, value]) => {
          const piece = frame.texts.find((one) => one.text === text && one.row === row)?.pieces[position];
          const feature = label.get(id);
          return h(
            "tr",
            {},
            h("td", {}, `${text + 1}${row ? `.${row + 1}` : ""}`),
            h("td", {}, h("span", { class: "ng-piece" }, piece === undefined ? "…" : quoted(piece)), ` at ${position}`),
            h("td", { title: id }, feature?.label ?? id),
            h("td", {}, compact(value ?? NaN)),
            h("td", {}, compact(feature?.limit ?? NaN)),
          );
        }),
      );
      this.#table.hidden = frame.firings.length === 0;
    });
  }

  #classOf({ text, fired, pointer }: TextView, most: Map<string, number>, i: number): string {
    const kind = ["", " ng-raw", " ng-special"][text?.kinds[i] ?? 0] ?? "";
    const here = fired.get(i) ?? [];
    // the strongest against its own largest; a token that fired always has the outline, too
    const share = Math.max(0, ...here.map(([, , , id, value]) => Math.min(1, (value ?? 0) / Math.max(most.get(id) ?? 0, 1e-9))));
    const name = here.length ? ` ${shade(Math.max(share, 0.03), [0, 1], false).name} ng-fired` : "";
    return kind + name + pointer.classOf(i);
  }

  #make(label: Map<string, { label: string; limit: number | null }>): TextView {
    const strip = new Strip(this.#shell.signal);
    const head = h("div", { class: "ng-watch-head" });
    const element = h("div", { class: "ng-watch-text" }, head, strip.element);
    this.#texts.append(element);
    const view: TextView = {
      element,
      head,
      strip,
      text: null,
      fired: new Map(),
      pointer: new TokenPointer(strip, {
        point: (i, token, byKey) => {
          const here = i === null ? [] : (view.fired.get(i) ?? []);
          if (byKey && i !== null) this.#shell.say(quoted(view.text?.pieces[i] ?? ""));
          if (i === null || !token || here.length === 0) {
            this.#shell.tip.hide();
            return;
          }
          const facts = here.map(([, , , id, value]) => `${label.get(id)?.label ?? id}: ${compact(value ?? NaN)}`);
          this.#shell.tip.show(token, [h("div", { class: "ng-piece" }, quoted(view.text?.pieces[i] ?? "")), ...facts.map((fact) => h("div", {}, fact))]);
          if (byKey) this.#shell.say(`${quoted(view.text?.pieces[i] ?? "")}, ${facts.join(", ")}`);
        },
      }),
    };
    return view;
  }
}
