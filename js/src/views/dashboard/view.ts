/**
 * A feature's page: joins the synced state and the panels on the common shell. In: the model and the element of a cell.
 * Out: the page; what needs the live model is asked of the kernel, and says so where there is none.
 */
import { button, focusable, h, setText } from "../../core/dom.js";
import { type Fact, facts } from "../../core/facts.js";
import { indexOf } from "../../core/feature-id.js";
import { compact, quoted, withSign } from "../../core/format.js";
import { type Bins, Histogram } from "../../core/histogram.js";
import { mountRef } from "../../core/host.js";
import type { Mounting } from "../../core/mount.js";
import { Outbox } from "../../core/outbox.js";
import type { Reply } from "../../core/protocol.js";
import { Shell } from "../../core/shell.js";
import { Bar } from "./bar.js";
import { Examples, type Ranged } from "./examples.js";
import { type Excerpt, placeOf, readExcerpt } from "./excerpt.js";
import { logitLists, matches, related, shareOf, statistics } from "./numbers.js";
import { OwnText } from "./own-text.js";
import { type RuleAnswer, RuleBox } from "./rule.js";
import { Said } from "./said.js";
import type { Traits, WireExcerpt, WirePage, WireSaid } from "./synced.js";

const ATTACH = "Your own text, ablation effects, rules over the whole corpus and steering need the model: view.attach(store.attach(model)).";
const EFFECTS = 40; // excerpts in one question
const REST = 150; // ms of rest on a token before its changed predictions are asked for

export class DashboardView {
  readonly root: HTMLElement;
  readonly #shell: Shell<Traits>;
  readonly #bar: Bar;
  readonly #stats = h("div", { class: "ng-dash-stats" });
  readonly #logits = h("div", { class: "ng-dash-logits" });
  readonly #related = h("div", { class: "ng-related" });
  readonly #relatedBox: HTMLElement;
  readonly #matches: HTMLButtonElement;
  readonly #histogram: Histogram;
  readonly #logitHistogram: Histogram;
  readonly #logBins: HTMLButtonElement;
  readonly #logCounts: HTMLButtonElement;
  readonly #examples: Examples;
  readonly #text: OwnText;
  readonly #rule: RuleBox;
  readonly #said: Said;
  readonly #outbox: Outbox;
  readonly #steer: HTMLButtonElement;
  readonly #slot = h("div", { class: "ng-slot", hidden: true });
  readonly #attach = h("p", { class: "ng-quiet ng-attach" }, ATTACH);
  #slotLife: AbortController | null = null;
  #page: WirePage | null = null;
  #ruled: RuleAnswer | null = null;
  #range: [low: number, high: number] | null = null;
  #rest: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly mounting: Mounting<Traits>) {
    const shell = (this.#shell = new Shell(mounting, "dashboard", "feature page"));
    this.root = shell.root;
    this.#bar = new Bar((feature) => this.#go(feature));
    this.#histogram = new Histogram("histogram of values; arrows and Enter choose a range", {
      brushed: (range) => this.#brush(range),
      told: (bin) => this.#toldValues(bin),
      point: (bar, text) => this.#note(bar, text),
    });
    this.#logitHistogram = new Histogram("histogram of its effects on all tokens' logits", {
      brushed: () => this.#logitHistogram.clear(),
      told: (bin) => this.#toldLogits(bin),
      point: (bar, text) => this.#note(bar, text),
    });
    const toggle = (name: string, title: string): HTMLButtonElement => {
      const made = button(name, { class: "ng-toggle", "aria-pressed": "false", title }, () => {
        made.setAttribute("aria-pressed", String(made.getAttribute("aria-pressed") !== "true"));
        this.#drawHistogram();
      });
      return made;
    };
    this.#logBins = toggle("log values", "bins a quarter of an octave wide in place of equally wide ones");
    this.#logCounts = toggle("log counts", "heights are the logarithm of 1 + tokens");
    this.#logCounts.setAttribute("aria-pressed", "true");
    this.#examples = new Examples({
      more: (groups) => this.#more(groups),
      effects: (wanted) => {
        if (wanted) this.#askEffects();
        else shell.rpc.cancel("effects");
      },
      point: (one, i, element, byKey) => this.#point(one, i, element, byKey),
      search: () => this.#askRange(true),
      letGo: () => this.#letGo(),
      stop: () => shell.rpc.cancel("range"),
    });
    this.#text = new OwnText({
      ask: (text) => {
        shell.synced.write({ text });
        this.#askText();
      },
      point: (told, token, byKey) => {
        if (!told || !token) {
          shell.tip.hide();
          return;
        }
        this.#tip(token, told.piece, told.place, [["value", compact(told.value)], ...(told.effect === null ? [] : [["effect", `${withSign(told.effect)} nats`, "log-likelihood with the feature minus without"] as Fact])], byKey);
      },
    });
    this.#rule = new RuleBox({
      ask: (rule) => {
        shell.synced.write({ rule });
        this.#askRule();
      },
      stop: () => shell.rpc.cancel("rule"),
    });
    this.#said = new Said((kind, what) => this.#write(kind, what));
    this.#outbox = new Outbox((kind, payload, done) => shell.ask(kind, payload, done), (error) => this.#said.fail([error.message, error.hint].filter(Boolean).join(" ")));
    this.#matches = button("Look in other stores", { class: "ng-button", title: "read 20,000 tokens with both models and correlate the values" }, () => this.#askMatches());
    this.#relatedBox = h("details", { class: "ng-dash-related", open: true }, focusable(h("summary", {}, "What goes with it")), this.#related, this.#matches);
    this.#steer = button("Steer from here", { class: "ng-button", title: "a slider on this feature, and what the model writes with it" }, () => {
      this.#steer.disabled = true;
      shell.ask("steer", { feature: this.#page?.feature ?? 0 }, ({ error }) => {
        this.#steer.disabled = false;
        if (error) this.#said.fail([error.message, error.hint].filter(Boolean).join(" "));
      });
    });
    const histogram = h("section", { class: "ng-dash-hist", "aria-label": "values" }, h("div", { class: "ng-part-head" }, h("h4", {}, "Values"), this.#logBins, this.#logCounts), this.#histogram.element, this.#rule.element);
    const logits = h("section", { class: "ng-dash-effect", "aria-label": "logits" }, h("div", { class: "ng-part-head" }, h("h4", {}, "Logits")), this.#logits, this.#logitHistogram.element);
    const numbers = h("section", { "aria-label": "statistics" }, h("div", { class: "ng-part-head" }, h("h4", {}, "Statistics")), this.#stats);
    const part = {
      body: [
        this.#bar.element,
        h("div", { class: "ng-dash-top" }, numbers, histogram, logits),
        this.#text.element,
        this.#examples.element,
        this.#relatedBox,
        this.#said.element,
        h("div", { class: "ng-dash-steer" }, this.#steer, this.#attach),
        this.#slot,
      ],
      size: () => (this.#page ? `feature ${this.#page.feature}` : null),
      empty: () => (this.#page ? null : "Nothing to show yet."),
      notice: () => this.#notice(),
      escape: () => shell.tip.hide(),
    };
    shell.open(mounting.el, part, () => {
      this.#text.value = shell.synced.get("text");
      this.#showFrame();
    });
    this.#listen();
  }

  #listen(): void {
    const shell = this.#shell;
    shell.on(["frame"], () => {
      shell.rpc.alive();
      this.#showFrame();
    });
    shell.on(["text"], () => {
      if (this.#text.composing || this.#text.value === shell.synced.get("text")) return;
      this.#text.value = shell.synced.get("text");
      this.#askText();
    });
    shell.on(["rule"], () => {
      this.#rule.offer(shell.synced.get("predicates"), shell.synced.get("rule"));
    });
    shell.on(["feature"], () => {
      // without a kernel nobody draws another feature; what stands here is then not what is selected
      shell.show();
      const wanted = indexOf(shell.synced.get("feature"), shell.synced.get("base"));
      if (this.#site && wanted !== null && wanted !== this.#page?.feature) this.#go(wanted); // a link, and nobody else hears it
    });
    shell.on(["live", "attached", "site"], () => {
      this.#draw();
    });
    shell.on(["steered"], () => this.#showSteered());
    shell.on(["said"], () => this.#showSaid());
    this.mounting.signal.addEventListener("abort", () => {
      clearTimeout(this.#rest);
      this.#slotLife?.abort();
    });
  }

  // --- the page -------------------------------------------------------------------------------------------------

  get #attached(): boolean {
    return this.#shell.synced.get("attached");
  }

  /** A page of a static site: other features can be turned to, and nothing else can be asked. */
  get #site(): boolean {
    return this.#shell.synced.get("site") === true;
  }

  /** There is somebody to ask. */
  get #asks(): boolean {
    return this.#shell.live && !this.#site;
  }

  #go(feature: number): void {
    this.#shell.run({ feature });
    this.#shell.show();
  }

  #notice(): string | null {
    const { synced, live } = this.#shell;
    const page = this.#page;
    const wanted = synced.get("feature");
    if (!live && page && wanted && wanted !== page.name) return `${wanted} is selected; its page needs a kernel. This one is ${page.name}.`;
    return null;
  }

  #showFrame(): void {
    const wire = this.#shell.synced.get("frame");
    if (wire.feature === undefined) return;
    const page = wire as WirePage;
    this.#shell.frame(page, () => {
      const another = this.#page?.name !== page.name;
      this.#page = page;
      if (another) {
        this.#ruled = null;
        this.#range = null;
        this.#histogram.clear();
        this.#rule.clear();
        this.#shell.tip.hide();
        for (const kind of ["effects", "range", "rule"]) if (this.#shell.rpc.busy(kind)) this.#shell.rpc.cancel(kind);
      }
      this.#draw();
      if (!this.#asks || !this.#attached) return;
      if (this.#text.value) this.#askText();
      if (this.#shell.synced.get("rule")) this.#askRule();
      if (this.#examples.effectsWanted) this.#askEffects();
    });
  }

  #draw(): void {
    const page = this.#page;
    if (!page) return;
    const { synced } = this.#shell;
    const [attached, live, turns] = [this.#attached, this.#asks, this.#shell.live];
    this.#bar.show(page, turns);
    this.#stats.replaceChildren(statistics(page));
    this.#logits.replaceChildren(logitLists(page));
    this.#logitHistogram.element.hidden = page.logits === null;
    if (page.logits) this.#logitHistogram.show({ ...binsOf(page.logits), marked: null }, true);
    const shown = { attached: attached || page.alignment !== null, turns, go: (feature: number) => this.#go(feature) };
    this.#related.replaceChildren(...related(page, shown));
    this.#matches.hidden = !(live && attached && synced.get("others").length > 0);
    this.#drawHistogram();
    this.#examples.show(page, this.#read(page.examples, page.pieces, page.kinds), attached, live);
    this.#text.clear(page.stats);
    this.#text.element.hidden = !(live && attached);
    this.#rule.offer(synced.get("predicates"), synced.get("rule"));
    this.#rule.element.hidden = !live;
    this.#showSaid();
    this.#steer.hidden = !(live && attached);
    this.#attach.hidden = attached || !live;
    this.#showSteered();
    this.#shell.show();
  }

  #read(wire: readonly WireExcerpt[], pieces: readonly string[], kinds: readonly number[]): Excerpt[] {
    return wire.map((one) => readExcerpt(one, pieces, kinds));
  }

  #drawHistogram(): void {
    const page = this.#page;
    if (!page) return;
    const log = this.#logBins.getAttribute("aria-pressed") === "true";
    const whole = log ? page.histogram.log : binsOf(page.histogram.linear);
    const ruled = this.#ruled?.stacked?.[log ? "log" : "linear"];
    const end = log ? whole.counts.length : whole.counts.reduce((last, n, i) => (n ? i + 1 : last), 0); // without the empty end
    const shown = (counts: readonly number[]): readonly number[] => counts.slice(0, end);
    const bins: Bins = { edges: whole.edges.slice(0, end + 1), counts: shown(ruled ? ruled[0] : whole.counts), marked: ruled ? shown(ruled[1]) : null };
    this.#bins = bins;
    this.#histogram.show(bins, this.#logCounts.getAttribute("aria-pressed") === "true");
  }
  #bins: Bins = { edges: [], counts: [], marked: null };

  #toldValues(bin: number): string {
    const { edges, counts, marked } = this.#bins;
    const n = counts[bin] ?? 0;
    const range = `${compact(edges[bin] ?? NaN)} to ${compact(edges[bin + 1] ?? NaN)}: ${n.toLocaleString("en-US")} tokens`;
    return marked && n ? `${range}, the rule holds at ${shareOf((marked[bin] ?? 0) / n)}` : range;
  }

  #toldLogits(bin: number): string {
    const logits = this.#page?.logits;
    if (!logits) return "";
    const low = logits.low + bin * logits.width;
    return `${compact(low)} to ${compact(low + logits.width)}: ${(logits.counts[bin] ?? 0).toLocaleString("en-US")} tokens of the vocabulary`;
  }

  // --- examples -------------------------------------------------------------------------------------------------

  #more(groups: Record<string, number>): void {
    const feature = this.#page?.feature;
    this.#shell.ask("examples", { feature, groups }, (reply) => {
      if (reply.error || this.#page?.feature !== feature) return;
      const { examples, pieces, kinds } = reply as Reply & { examples: WireExcerpt[]; pieces: string[]; kinds: number[] };
      this.#examples.add(this.#read(examples, pieces, kinds));
      if (this.#examples.effectsWanted) this.#askEffects();
    });
  }

  #brush(range: [low: number, high: number] | null): void {
    this.#range = range;
    if (!range) {
      this.#examples.range(null);
      return;
    }
    const [low, high] = range;
    if (this.#asks) this.#askRange(false);
    else {
      const examples = this.#examples.kept(low, high);
      this.#examples.range({ low, high, examples, found: examples.length, tokens: 0, reading: false });
    }
  }

  #letGo(): void {
    this.#range = null;
    this.#histogram.clear();
    if (this.#shell.rpc.busy("range")) this.#shell.rpc.cancel("range");
    this.#examples.range(null);
  }

  #askRange(search: boolean): void {
    const [feature, range] = [this.#page?.feature, this.#range];
    if (!range) return;
    const [low, high] = range;
    const mine = (): boolean => this.#page?.feature === feature && this.#range === range;
    if (search) this.#examples.range({ low, high, examples: [], found: 0, tokens: 0, reading: true });
    const done = (reply: Reply): void => {
      if (!mine() || reply.superseded) return;
      if (reply.cancelled) {
        this.#askRange(false); // what was read stays
        return;
      }
      if (reply.error) {
        this.#said.fail([reply.error.message, reply.error.hint].filter(Boolean).join(" "));
        this.#letGo();
        return;
      }
      const { examples, pieces, kinds, found, tokens } = reply as Reply & { examples: WireExcerpt[]; pieces: string[]; kinds: number[]; found: number; tokens: number };
      const ranged: Ranged = { low, high, examples: this.#read(examples, pieces, kinds), found, tokens, reading: false };
      this.#examples.range(ranged);
      if (this.#examples.effectsWanted) this.#askEffects();
    };
    this.#shell.ask("range", { feature, low, high, search }, done, ({ tokens }) => {
      if (mine() && typeof tokens === "number") this.#examples.progress(`reading the corpus: ${tokens.toLocaleString("en-US")} of ${this.#page?.n_tokens.toLocaleString("en-US") ?? ""} tokens`);
    });
  }

  #askEffects(): void {
    const feature = this.#page?.feature;
    const asked = this.#examples.withoutEffect.slice(0, EFFECTS);
    if (!asked.length) return;
    const keep = (reply: Reply): void => {
      const one = typeof reply.which === "number" ? asked[reply.which] : undefined;
      if (one) one.effect = reply.effect as (number | null)[];
    };
    this.#shell.ask(
      "effects",
      { feature, which: asked.map(placeOf) },
      (reply) => {
        if (this.#page?.feature !== feature) return;
        if (reply.error) this.#said.fail([reply.error.message, reply.error.hint].filter(Boolean).join(" "));
        this.#examples.repaint();
        if (!reply.error && !reply.cancelled && !reply.superseded && this.#examples.effectsWanted) this.#askEffects(); // the next ones
      },
      keep,
    );
  }

  #point(one: Excerpt | null, i: number, element: Element | null, byKey: boolean): void {
    clearTimeout(this.#rest);
    if (!one || !element) {
      this.#shell.tip.hide();
      return;
    }
    const effect = this.#examples.effectsWanted ? (one.effect?.[i - one.lead] ?? null) : null;
    const value = one.values[i] ?? NaN;
    const told: Fact[] = [
      ["value", Number.isNaN(value) ? "not measured: outside of the window" : compact(value)],
      ...(effect === null ? [] : [["effect", `${withSign(effect)} nats`, "log-likelihood of this token with the feature minus without"] as Fact]),
      ["place", `document ${one.document}, token ${one.start + i - one.lead}`],
    ];
    const piece = one.pieces[i] ?? "";
    this.#tip(element, piece, "", told, byKey);
    if (effect === null || i < one.lead) return;
    const asked = { feature: this.#page?.feature, which: placeOf(one), position: i - one.lead };
    this.#rest = setTimeout(() => {
      this.#shell.ask("changed", asked, (reply) => {
        if (reply.error || reply.superseded || !this.#shell.tip.visible || !element.matches(":hover, .ng-cur")) return;
        const { promoted, demoted, kl } = reply as Reply & { promoted: [string, number][]; demoted: [string, number][]; kl: number | null };
        const list = (pairs: [string, number][]): string => pairs.slice(0, 4).map(([p, by]) => `${quoted(p)} ${withSign(100 * by, 2)}%`).join("  ") || "–";
        this.#tip(element, piece, "", [...told, ["makes likelier", list(promoted), "next tokens whose probability it raises most, in percentage points"], ["less likely", list(demoted)], ["KL", `${compact(kl ?? NaN)} nats`, "of the next token's distribution with the feature from that without"]], byKey);
      });
    }, REST);
  }

  #tip(anchor: Element, piece: string, place: string, told: readonly Fact[], byKey: boolean): void {
    this.#shell.tip.show(anchor, [h("div", { class: "ng-piece" }, quoted(piece)), ...(place ? [h("div", { class: "ng-tip-label" }, place)] : []), facts(told)]);
    if (byKey) this.#shell.say([quoted(piece), ...told.slice(0, 2).map(([name, value]) => `${name} ${typeof value === "string" ? value : (value.textContent ?? "")}`)].join(", "));
  }

  #note(anchor: Element | null, text: string): void {
    if (!anchor) this.#shell.tip.hide();
    else this.#shell.tip.show(anchor, [h("div", {}, text)]);
  }

  // --- what is asked of the model -------------------------------------------------------------------------------

  #askText(): void {
    const feature = this.#page?.feature;
    this.#shell.ask("text", { feature, text: this.#text.value, effects: this.#text.effects }, (reply) => {
      if (this.#page?.feature === feature) this.#text.answer(reply);
    });
  }

  #askRule(): void {
    const [feature, rule] = [this.#page?.feature, this.#shell.synced.get("rule")];
    if (rule === "") {
      this.#shell.rpc.cancel("rule");
      this.#ruled = null;
      this.#rule.clear();
      this.#drawHistogram();
      return;
    }
    const take = (reply: Reply): void => {
      if (this.#page?.feature !== feature || this.#shell.synced.get("rule") !== rule) return;
      const answer = this.#rule.show(reply);
      if (answer) this.#ruled = answer;
      else if (reply.error) this.#ruled = null;
      this.#drawHistogram();
    };
    this.#shell.ask("rule", { feature, rule }, take, take);
  }

  #askMatches(): void {
    const feature = this.#page?.feature;
    this.#matches.disabled = true;
    setText(this.#matches, "reading…");
    this.#shell.ask("matches", { feature }, (reply) => {
      this.#matches.disabled = false;
      setText(this.#matches, "Look in other stores");
      if (this.#page?.feature !== feature) return;
      if (reply.error) this.#said.fail([reply.error.message, reply.error.hint].filter(Boolean).join(" "));
      else if (reply.matches) this.#related.append(matches(reply.matches as [string, number, number | null, number | null][]));
    });
  }

  #showSaid(): void {
    const page = this.#page;
    if (!page) return;
    const said = this.#shell.synced.get("said");
    if (said.lists) page.said = said as WireSaid;
    this.#said.show(page.said, this.#asks);
    this.#bar.show(page, this.#shell.live);
  }

  #write(kind: string, what: object): void {
    const feature = this.#page?.feature ?? 0;
    this.#outbox.send(kind, kind === "note" || kind === "explain" ? { feature, ...what } : { features: [feature], ...what });
  }

  #showSteered(): void {
    const steered = this.#shell.synced.get("steered");
    if (this.#slot.dataset.ref === (steered ?? "")) return;
    this.#slotLife?.abort();
    this.#slot.replaceChildren();
    this.#slot.dataset.ref = steered ?? "";
    this.#slot.hidden = steered === null;
    if (steered === null) return;
    this.#slotLife = new AbortController();
    void mountRef(this.mounting.host, steered, this.#slot, this.#slotLife.signal);
  }
}

function binsOf({ low, width, counts }: { low: number; width: number; counts: number[] }): { edges: number[]; counts: number[] } {
  return { edges: Array.from({ length: counts.length + 1 }, (_, i) => low + i * width), counts };
}
