/**
 * Blinded rating: one feature after the other, as excerpts and tokens without a name, and the questions about it. In: the
 * model and the element of a cell. Out: answers, each sent as it is given; what is what only after "unblind".
 */
import { shade } from "../../core/colour.js";
import { button, h, setText } from "../../core/dom.js";
import { quoted } from "../../core/format.js";
import type { Mounting } from "../../core/mount.js";
import { Outbox } from "../../core/outbox.js";
import type { Reply } from "../../core/protocol.js";
import { Shell } from "../../core/shell.js";
import { RTL, dress, shapeOf } from "../../core/strip.js";
import { Form, letter } from "./form.js";
import type { Traits, WireExcerpt, WireFrame } from "./synced.js";

export class RatingView {
  readonly #shell: Shell<Traits>;
  readonly #form: Form;
  readonly #outbox: Outbox;
  readonly #previous: HTMLButtonElement;
  readonly #next: HTMLButtonElement;
  readonly #where = h("span", { class: "ng-where" });
  readonly #meter = h("span", { class: "ng-progress", role: "img", "aria-label": "nothing rated yet" });
  readonly #groups = h("div", { class: "ng-groups" });
  readonly #tokens = h("div", { class: "ng-likelier" });
  readonly #unblind: HTMLButtonElement;
  readonly #result = h("div", { class: "ng-result", hidden: true });
  readonly #what = h("p", { class: "ng-what", hidden: true });
  #frame: WireFrame | null = null;
  #done: number[] = [];

  constructor(mounting: Mounting<Traits>) {
    const shell = (this.#shell = new Shell(mounting, "blind-rating", "blinded rating"));
    this.#outbox = new Outbox((kind, payload, done) => shell.ask(kind, payload, (reply) => {
      this.#kept(reply);
      done(reply);
    }), (error) => shell.say(error.message));
    this.#form = new Form({
      changed: (answers) => {
        if (!this.#frame) return;
        this.#frame.answers = answers;
        this.#outbox.send("answer", { item: this.#frame.item, answers });
      },
      next: () => this.#go(1),
      point: (group) => {
        [...this.#groups.children].forEach((one, k) => one.classList.toggle("ng-asked-about", k === group));
        if (group !== null) (this.#groups.children[group] as HTMLElement | undefined)?.scrollIntoView({ block: "nearest" });
      },
    });
    this.#previous = button("‹", { class: "ng-icon", "aria-label": "previous feature", title: "previous feature" }, () => this.#go(-1));
    this.#next = button("›", { class: "ng-icon", "aria-label": "next feature", title: "next feature" }, () => this.#go(1));
    this.#unblind = button("Unblind…", { class: "ng-button", title: "see what was rated: from then on the ratings are marked as not blind" }, () => this.#askUnblind());
    const part = {
      body: [
        h("div", { class: "ng-rating-bar" }, this.#previous, this.#where, this.#next, this.#meter, this.#unblind),
        this.#what,
        h("div", { class: "ng-rating-body" }, this.#groups, h("section", { class: "ng-promoted", "aria-label": "tokens that it makes likelier" }, h("h4", { title: "by its direct effect on the logits; the bar is relative to the largest" }, "Makes likelier"), this.#tokens)),
        this.#form.element,
        this.#result,
      ],
      size: () => (this.#frame ? `${this.#done.filter(Boolean).length} of ${this.#frame.items} rated` : null),
      empty: () => (this.#frame ? null : "Nothing to rate yet."),
      notice: () => null,
      escape: () => shell.tip.hide(),
    };
    shell.open(mounting.el, part, () => this.#showFrame());
    shell.on(["frame"], () => {
      shell.rpc.alive();
      this.#showFrame();
    });
    shell.on(["live"], () => this.#showFrame());
  }

  #go(by: 1 | -1): void {
    const frame = this.#frame;
    if (!frame) return;
    const item = frame.item + by;
    if (item < 0 || item >= frame.items) {
      this.#shell.say(item < 0 ? "This is the first one." : "This is the last one.");
      return;
    }
    this.#shell.run({ item });
  }

  #kept({ error, finished }: Reply): void {
    if (error) return;
    this.#done = finished as number[];
    this.#drawProgress();
  }

  #askUnblind(): void {
    const left = this.#done.filter((one) => !one).length;
    if (this.#unblind.dataset.sure === undefined && !this.#frame?.unblinded) {
      this.#unblind.dataset.sure = "";
      setText(this.#unblind, left ? `Unblind with ${left} left?` : "Unblind now?");
      return;
    }
    this.#shell.ask("unblind", {}, (reply) => {
      if (reply.error) return;
      const { columns, rows } = reply as Reply & { columns: string[]; rows: (string | number | null)[][] };
      const table = h("table", { class: "ng-report" }, h("caption", {}, "scores by source, 0 to 14"), h("thead", {}, h("tr", {}, ...["source", ...columns].map((name) => h("th", { scope: "col" }, name)))), h("tbody", {}, ...rows.map((row) => h("tr", {}, ...row.map((cell, k) => h(k ? "td" : "th", { scope: k ? null : "row" }, cell === null ? "–" : String(cell)))))));
      this.#result.replaceChildren(rows.length ? table : h("p", { class: "ng-quiet" }, "Nothing is rated whole yet."));
      this.#result.hidden = false;
    });
  }

  #showFrame(): void {
    const wire = this.#shell.synced.get("frame");
    if (wire.groups === undefined) return;
    const frame = wire as WireFrame;
    const another = this.#frame?.item !== frame.item;
    this.#shell.frame(frame, (ours) => {
      this.#frame = frame;
      this.#done = frame.done;
      this.#draw(frame);
      if (another || ours) this.#form.show(frame, this.#shell.live);
      if (ours) this.#form.focus();
    });
  }

  #drawProgress(): void {
    const frame = this.#frame;
    if (!frame) return;
    const done = this.#done.filter(Boolean).length;
    this.#meter.setAttribute("aria-label", `${done} of ${frame.items} rated`);
    this.#meter.replaceChildren(...this.#done.map((one, k) => h("span", { class: `${one ? "ng-done" : ""}${k === frame.item ? " ng-here" : ""}` })));
    this.#shell.show();
  }

  #draw(frame: WireFrame): void {
    setText(this.#where, `feature ${frame.item + 1} of ${frame.items}`);
    this.#previous.disabled = frame.item === 0;
    this.#next.disabled = frame.item === frame.items - 1;
    this.#unblind.hidden = !this.#shell.live;
    delete this.#unblind.dataset.sure;
    setText(this.#unblind, frame.unblinded ? "Results" : "Unblind…");
    this.#drawProgress();
    const { what } = frame;
    this.#what.hidden = what === null;
    setText(this.#what, what ? `${what.source}, feature ${what.feature}` : "");
    this.#groups.replaceChildren(
      ...frame.groups.map((excerpts, k) => {
        const rated = frame.rated.includes(k);
        const interval = what ? ` · interval ${(what.intervals[k] ?? 0) + 1} of ${what.of}` : "";
        return h("section", { class: rated ? "ng-group ng-rated" : "ng-group", "aria-label": `group ${letter(k)}` }, h("h5", {}, `Group ${letter(k)}`, h("span", { class: "ng-quiet" }, `${rated ? " · rated below" : ""}${interval}`)), ...excerpts.map((one) => this.#excerpt(one, frame)));
      }),
    );
    this.#tokens.replaceChildren(
      ...frame.promoted.map(([piece, share]) => {
        const bar = h("span", { class: "ng-bar", "aria-hidden": "true" });
        bar.style.width = `${Math.max(0, 100 * share)}%`;
        return h("div", { class: "ng-token-line" }, h("span", { class: "ng-piece", dir: "auto" }, quoted(piece)), h("span", { class: "ng-track" }, bar));
      }),
    );
  }

  #excerpt(one: WireExcerpt, frame: WireFrame): HTMLElement {
    const values = new Map(one.i.map((at, k) => [at, one.x[k] ?? NaN]));
    const pieces = one.t.map((place) => frame.pieces[place] ?? "");
    const tokens = pieces.map((piece, i) => {
      const token = h("span");
      dress(token, piece);
      const kind = frame.kinds[one.t[i] ?? 0] === 2 ? " ng-special" : frame.kinds[one.t[i] ?? 0] === 1 ? " ng-raw" : "";
      const { name } = shade(values.get(i) ?? 0, [0, 1], false);
      token.className = `ng-tok${shapeOf(piece)} ${name}${kind}${i === one.at ? " ng-anchor" : ""}`;
      if (i === one.at) token.title = "the token of this group";
      token.removeAttribute("aria-label");
      return token;
    });
    return h("p", { class: "ng-excerpt ng-flat", dir: RTL.test(pieces.join("")) ? "rtl" : "ltr" }, ...tokens);
  }
}
