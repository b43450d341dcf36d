/**
 * A head's page: joins the synced state and the parts on the common shell. In: the model and the element of a cell. Out:
 * the head's numbers, its strongest pairs, how far they reach, the other heads; with a model, a text of one's own.
 */
import { button, focusable, h, setText } from "../../core/dom.js";
import { compact, quoted, withSign } from "../../core/format.js";
import type { Mounting } from "../../core/mount.js";
import { Shell } from "../../core/shell.js";
import { Strip } from "../../core/strip.js";
import { TextBox } from "../../core/text-box.js";
import { TokenPointer } from "../../core/token-pointer.js";
import { Heads } from "./heads.js";
import { MOST, Matrix } from "./matrix.js";
import { mixClass, mixCss } from "./mix.js";
import { type Reading, UNIT, at, readAttention, strongest } from "./picture.js";
import type { Traits, WireHead } from "./synced.js";
import { nameOf, numbers, pairLine, reachTable } from "./words.js";

const TOLD = 8; // tokens in the lists
const ATTACH = "To read a text of yours, attach a model: store.attach(model), then view.attach(store).";
const pairList = (label: string): HTMLElement => focusable(h("ol", { class: "ng-pairs", tabindex: 0, "aria-label": label }));
type Said = [piece: string, id: number, logit: number][];

export class HeadView {
  readonly #shell: Shell<Traits>;
  readonly #heads: Heads;
  readonly #title = h("h3", { class: "ng-hd-title" });
  readonly #numbers = h("div", { class: "ng-columns ng-hd-numbers" });
  readonly #pairs = { top: pairList("strongest pairs"), random: pairList("random pairs") };
  readonly #reach = h("div", { class: "ng-hd-reach" });
  readonly #box: TextBox;
  readonly #editor: HTMLElement;
  readonly #by: HTMLElement;
  readonly #legend = h("span", { class: "ng-legend" });
  readonly #attach = h("p", { class: "ng-hd-attach ng-quiet" });
  readonly #strip: Strip;
  readonly #pointer: TokenPointer;
  readonly #matrix: Matrix;
  readonly #detail = h("div", { class: "ng-detail", hidden: true });
  readonly #hint = h("p", { class: "ng-quiet ng-hd-hint", hidden: true }, "Select a token: what it reads, who reads it, what attending to it says.");
  readonly #said = h("div", { class: "ng-columns" });
  readonly #groups: HTMLElement;
  readonly #body: HTMLElement;
  readonly #steps: readonly [HTMLButtonElement, HTMLButtonElement];
  #group: "top" | "random" = "top";
  #frame: WireHead | null = null;
  #reading: Reading | null = null;
  #hover = -1;
  #asked = -1; // the token whose words were asked for

  constructor(mounting: Mounting<Traits>) {
    const shell = (this.#shell = new Shell(mounting, "head_dashboard", "attention head"));
    this.#heads = new Heads(shell.name, (head) => this.#go(head), (text) => shell.say(text));
    this.#box = new TextBox("text of your own", "a text of your own: who reads whom?", (text) => this.#read(text));
    this.#strip = new Strip(mounting.signal);
    this.#pointer = new TokenPointer(this.#strip, {
      point: (i, token, byKey) => this.#point(i ?? -1, token, byKey),
      pick: (i) => this.#select(shell.synced.get("token") === i ? null : i),
    });
    this.#strip.element.setAttribute("aria-label", "tokens of the text");
    this.#matrix = new Matrix(
      (query, key, anchor) => this.#pointPair(query, key, anchor),
      (query) => this.#select(query),
    );
    this.#by = this.#toggles("coloured by", ["written", "pattern"], { written: "what is written, ‖A·v·W_O‖", pattern: "attention, A" }, (by) => this.#write({ by }));
    this.#groups = this.#toggles("pairs", ["top", "random"], { top: "strongest", random: "random" }, (group) => {
      this.#group = group;
      this.#showGroup();
    });
    const step = (name: string, by: number): HTMLButtonElement => button(by < 0 ? "‹" : "›", { class: "ng-icon", "aria-label": `${name} head`, title: `${name} head` }, () => this.#step(by));
    this.#steps = [step("previous", -1), step("next", 1)];
    this.#editor = h("div", { class: "ng-editor" }, this.#box.element, h("div", { class: "ng-controls" }, this.#by, this.#legend));
    this.#body = h(
      "div",
      { class: "ng-hd-body" },
      h("div", { class: "ng-hd-top" }, h("div", { class: "ng-hd-name" }, this.#steps[0], this.#title, this.#steps[1]), this.#heads.element),
      this.#numbers,
      h("section", { class: "ng-hd-live", "aria-label": "text of your own" }, this.#attach, this.#editor, this.#strip.element, h("div", { class: "ng-hd-look" }, this.#matrix.element, this.#detail, this.#hint)),
      h("section", { class: "ng-hd-stored", "aria-label": "pairs of the corpus" }, h("div", { class: "ng-hd-lists" }, this.#groups, this.#pairs.top, this.#pairs.random), this.#reach),
    );
    shell.open(
      mounting.el,
      {
        body: [h("style", {}, mixCss()), this.#body],
        size: () => (this.#frame ? nameOf(this.#frame.head) : null),
        empty: () => (this.#frame ? null : "Nothing to show."),
        notice: () => this.#notice(),
        themed: () => this.#draw(),
        escape: () => shell.tip.hide(),
      },
      () => {
        this.#box.value = shell.synced.get("text");
        this.#showFrame();
        this.#showAttention();
      },
    );
    shell.on(["frame"], () => {
      shell.rpc.alive();
      this.#showFrame();
    });
    shell.on(["attention"], () => {
      shell.rpc.alive();
      this.#showAttention();
    });
    shell.on(["by"], () => this.#showAttention());
    shell.on(["token"], () => this.#showToken());
    shell.on(["text"], () => {
      if (!shell.rpc.busy("read") && !this.#box.composing) this.#box.value = shell.synced.get("text");
    });
    shell.on(["attached", "live"], () => this.#draw());
  }

  /** Two buttons of which one is in. */
  #toggles<N extends string>(label: string, names: readonly N[], words: Record<N, string>, choose: (name: N) => void): HTMLElement {
    return h(
      "span",
      { class: "ng-field", role: "group", "aria-label": label },
      ...names.map((name) => button(words[name], { class: "ng-toggle", "data-name": name, "aria-pressed": "false" }, () => choose(name))),
    );
  }

  #press(group: HTMLElement, name: string): void {
    for (const one of group.querySelectorAll<HTMLElement>("[data-name]")) one.setAttribute("aria-pressed", String(one.dataset.name === name));
  }

  #notice(): string | null {
    const said: string[] = [];
    const frame = this.#frame;
    if (frame) {
      for (const group of ["top", "random"] as const) {
        const [shown, all] = [frame.pairs[group].length, frame.summary[group]];
        if (group === this.#group && shown < all) said.push(`Pairs shown: ${shown} of ${all}; all of them: view.to_frame().`);
      }
    }
    if (frame && !this.#shell.live && frame.heads.length > 1) said.push("Without a kernel, this page has one head.");
    if (this.#reading?.notice) said.push(this.#reading.notice);
    if (this.#reading && this.#reading.n > MOST) said.push(`The square of who reads whom is drawn for at most ${MOST} tokens.`);
    return said.join(" ") || null;
  }

  // --- what a person does -----------------------------------------------------------------------------------------

  #write(change: Partial<Traits>): void {
    this.#shell.synced.write(change);
    if ("by" in change) this.#showAttention();
    if ("token" in change) this.#showToken();
  }

  #go(head: [number, number]): void {
    if (!this.#shell.live) {
      this.#shell.say("other heads need the kernel");
      return;
    }
    this.#write({ head });
    this.#shell.say(nameOf(head));
  }

  #step(by: number): void {
    const frame = this.#frame;
    if (!frame) return;
    const now = frame.heads.findIndex(([layer, head]) => layer === frame.head[0] && head === frame.head[1]);
    const next = frame.heads[(now + by + frame.heads.length) % frame.heads.length];
    if (next) this.#go([next[0], next[1]]);
  }

  #read(text: string): void {
    this.#shell.ask("read", { text }, () => this.#shell.show()); // the picture and errors come as traits
  }

  #select(token: number | null): void {
    this.#write({ token });
  }

  #point(i: number, anchor: Element | null, byKey: boolean): void {
    const reading = this.#reading;
    if (!reading || i < 0 || !anchor) {
      this.#hover = -1;
      this.#shell.tip.hide();
    } else {
      this.#hover = i;
      this.#shell.tip.show(anchor, [h("div", { class: "ng-piece" }, quoted(reading.pieces[i] ?? "")), ...this.#lists(reading, i, 4)]);
      if (byKey) this.#shell.say(this.#sentence(reading, i));
    }
    this.#strip.repaint();
  }

  #pointPair(query: number, key: number, anchor: Element | null): void {
    const reading = this.#reading;
    if (!reading || !anchor) {
      this.#shell.tip.hide();
      return;
    }
    const words = `${quoted(reading.pieces[query] ?? "")} reads ${quoted(reading.pieces[key] ?? "")}`;
    this.#shell.tip.show(anchor, [h("div", {}, words), h("div", { class: "ng-quiet" }, `${UNIT[reading.by]} ${this.#value(reading, at(reading, query, key))} · ${query - key} back`)]);
  }

  // --- drawing ----------------------------------------------------------------------------------------------------

  #value(reading: Reading, value: number): string {
    return `${reading.approximate ? "≈ " : ""}${compact(value)}`;
  }

  #sentence(reading: Reading, i: number): string {
    const [reads] = strongest(reading, i, "reads", 1);
    const [readers] = strongest(reading, i, "readers", 1);
    const word = (found: [number, number] | undefined, verb: string): string =>
      found ? `, ${verb} ${quoted(reading.pieces[found[0]] ?? "")} at ${found[0]} most: ${this.#value(reading, found[1])}` : "";
    return `${quoted(reading.pieces[i] ?? "")} at ${i}${word(reads, "reads")}${word(readers, "is read by")}`;
  }

  #lists(reading: Reading, i: number, most: number): HTMLElement[] {
    const list = (caption: string, which: "reads" | "readers"): HTMLElement => {
      const found = strongest(reading, i, which, most);
      const rows = found.map(([other, value]) => {
        const bar = h("span", { class: `ng-bar ng-bar-${which}`, "aria-hidden": "true" });
        bar.style.width = `${Math.max(1, (100 * value) / (reading.most || 1)).toFixed(1)}%`;
        return h("tr", {}, h("td", { class: "ng-piece", dir: "auto", title: `position ${other}` }, quoted(reading.pieces[other] ?? "")), h("td", { class: "ng-mark" }, String(other)), h("td", { class: "ng-track" }, bar), h("td", { class: "ng-percent" }, this.#value(reading, value)));
      });
      return h("table", { class: "ng-top" }, h("caption", {}, caption), ...(rows.length ? rows : [h("tr", {}, h("td", {}, "nobody"))]));
    };
    return [list(`it reads (key, ${UNIT[reading.by]})`, "reads"), list(`it is read by (query, ${UNIT[reading.by]})`, "readers")];
  }

  #showFrame(): void {
    const wire = this.#shell.synced.get("frame");
    this.#shell.frame({}, () => {
      const frame = (this.#frame = wire.summary ? (wire as WireHead) : null);
      this.#body.hidden = !frame;
      if (!frame) return;
      setText(this.#title, nameOf(frame.head));
      this.#heads.show(frame);
      this.#numbers.replaceChildren(...numbers(frame.summary, frame.tokens));
      this.#reach.replaceChildren(reachTable(frame.summary));
      for (const group of ["top", "random"] as const) this.#pairs[group].replaceChildren(...frame.pairs[group].map(pairLine));
      this.#showGroup();
      this.#draw();
    });
  }

  #showGroup(): void {
    this.#press(this.#groups, this.#group);
    for (const group of ["top", "random"] as const) this.#pairs[group].hidden = group !== this.#group;
    this.#shell.show();
  }

  #showAttention(): void {
    const { synced } = this.#shell;
    this.#shell.frame({}, () => {
      this.#reading = readAttention(synced.get("attention"), synced.get("by"));
      this.#hover = -1;
      this.#asked = -1;
      this.#draw();
      this.#showToken();
    });
  }

  #draw(): void {
    const { synced, live, theme } = this.#shell;
    const reading = this.#reading;
    const attached = synced.get("attached");
    this.#press(this.#by, synced.get("by"));
    const typing = live && attached;
    for (const button of this.#steps) button.hidden = !live || (this.#frame?.heads.length ?? 0) < 2;
    this.#attach.hidden = typing || (!live && reading !== null);
    setText(this.#attach, ATTACH);
    this.#box.element.hidden = !typing;
    this.#editor.hidden = !typing && reading === null;
    this.#legend.replaceChildren(...(reading ? this.#ends(reading) : []));
    this.#strip.element.hidden = reading === null;
    this.#strip.update(reading?.pieces ?? [], (i) => this.#classOf(i));
    this.#matrix.draw(reading, theme, synced.get("token"));
    this.#shell.show();
  }

  #ends(reading: Reading): Node[] {
    const swatch = (key: number, query: number, text: string): Node => h("span", { class: "ng-hd-swatch" }, h("span", { class: `ng-hd-patch${mixClass(key, query)}`, "aria-hidden": "true" }), text);
    return [swatch(1, 0, "is read (key)"), swatch(0, 1, "reads (query)"), h("span", {}, `full colour: ${this.#value(reading, reading.most)} ${UNIT[reading.by]}`)];
  }

  /** Idle: how much each token is read, and reads, at most. With one pointed at or selected: what it reads, and who reads it. */
  #classOf(i: number): string {
    const reading = this.#reading;
    if (!reading) return "";
    const kind = ["", " ng-raw", " ng-special"][reading.kinds[i] ?? 0] ?? "";
    const most = reading.most || 1;
    const token = this.#shell.synced.get("token");
    const about = this.#hover >= 0 ? this.#hover : (token ?? -1);
    let mix = mixClass((reading.out[i] ?? 0) / most, (reading.into[i] ?? 0) / most);
    if (about >= 0 && about < reading.n) mix = mixClass(i <= about ? at(reading, about, i) / most : 0, i > about ? at(reading, i, about) / most : 0);
    const chosen = i === token ? " ng-sel" : i === this.#hover ? " ng-hd-here" : "";
    return kind + mix + chosen + this.#pointer.classOf(i);
  }

  #showToken(): void {
    const reading = this.#reading;
    const token = this.#shell.synced.get("token");
    this.#strip.repaint();
    this.#matrix.draw(reading, this.#shell.theme, token);
    const there = reading !== null && token !== null && token >= 0 && token < reading.n;
    this.#detail.hidden = !there;
    this.#hint.hidden = there || reading === null;
    if (!there) {
      this.#asked = -1;
      return;
    }
    const close = button("×", { class: "ng-icon ng-detail-close", "aria-label": "let go of the token", title: "let go" }, () => this.#select(null));
    this.#detail.replaceChildren(
      h("div", { class: "ng-detail-head" }, h("bdi", { class: "ng-piece" }, quoted(reading.pieces[token] ?? "")), h("span", { class: "ng-quiet" }, `position ${token}`), close),
      h("div", { class: "ng-columns" }, ...this.#lists(reading, token, TOLD)),
      this.#said,
    );
    this.#ask(token);
  }

  /** What attending to the token says: its value vector through W_O to the logits. */
  #ask(token: number): void {
    const { live, synced } = this.#shell;
    if (!live || !synced.get("attached")) {
      this.#said.replaceChildren(h("p", { class: "ng-quiet" }, "Which tokens attending to it promotes needs the model."));
      return;
    }
    if (this.#asked === token) return;
    this.#asked = token;
    this.#said.replaceChildren(h("p", { class: "ng-quiet" }, "…"));
    this.#shell.ask("ov", { position: token }, (reply) => {
      if (this.#asked !== token || reply.superseded || reply.cancelled) return;
      if (reply.error) {
        this.#said.replaceChildren(h("p", { class: "ng-failure" }, `${reply.error.message} ${reply.error.hint ?? ""}`));
        return;
      }
      const [up, down] = [reply.promoted as Said, reply.suppressed as Said];
      const most = Math.max(...[...up, ...down].map(([, , logit]) => Math.abs(logit)), 1e-9);
      this.#said.replaceChildren(...([["attending to it promotes", up], ["and suppresses", down]] as const).map(([caption, lines]) => this.#words(`${caption} (logits, A = 1)`, lines, most)));
    });
  }

  #words(caption: string, lines: Said, most: number): HTMLElement {
    const title = "v·W_O of this token through the final norm (scale frozen at this token) times W_U: the direct path alone";
    const rows = lines.map(([piece, id, logit]) => {
      const bar = h("span", { class: "ng-bar", "aria-hidden": "true" });
      bar.style.width = `${Math.max(1, (100 * Math.abs(logit)) / most).toFixed(1)}%`;
      return h("tr", {}, h("td", { class: "ng-piece", dir: "auto", title: `token ${id}` }, quoted(piece)), h("td", { class: "ng-track" }, bar), h("td", { class: "ng-percent" }, withSign(logit)));
    });
    return h("table", { class: "ng-top" }, h("caption", { title }, caption), ...rows);
  }
}

