/**
 * The explanation lab: joins the synced state and the panels on the common shell. In: the model and the element of a cell.
 * Out: an explanation that one edits, with what it predicts over what is true.
 */
import { h } from "../../core/dom.js";
import { type Fact, facts } from "../../core/facts.js";
import { idOf } from "../../core/feature-id.js";
import { FeatureSteps } from "../../core/feature-steps.js";
import { compact, count, quoted } from "../../core/format.js";
import type { Mounting } from "../../core/mount.js";
import type { Reply } from "../../core/protocol.js";
import { Shell } from "../../core/shell.js";
import { Comparison } from "./comparison.js";
import { Counter } from "./counter.js";
import { Editor } from "./editor.js";
import { lowerCss } from "./halves.js";
import type { Pointed } from "./overlay.js";
import { type Said, type Window, markOf, readSaid, readWindows } from "./picture.js";
import { Scatter } from "./scatter.js";
import { Scores } from "./scores.js";
import { Steps } from "./steps.js";
import type { Traits, WireBench } from "./synced.js";
import { Windows } from "./windows.js";
import { markWords } from "./words.js";

type Job = "explain" | "revise" | "counter" | "effects" | "judge" | "table";

export class LabView {
  readonly root: HTMLElement;
  readonly #shell: Shell<Traits>;
  readonly #steps: FeatureSteps;
  readonly #name = h("span", { class: "ng-lab-name" });
  readonly #about = h("span", { class: "ng-quiet ng-lab-split" });
  readonly #editor: Editor;
  readonly #scores: Scores;
  readonly #scatter = new Scatter();
  readonly #history: Steps;
  readonly #windows: Windows;
  readonly #counter: Counter;
  readonly #table: Comparison;
  readonly #grid: HTMLElement;
  #bench: WireBench | null = null;
  #held: { of: unknown; windows: Window[] } = { of: null, windows: [] };
  #extra: { of: unknown; windows: Window[] } = { of: null, windows: [] };
  #due = false;
  #job: Job | null = null;

  constructor(mounting: Mounting<Traits>) {
    const shell = (this.#shell = new Shell(mounting, "lab", "explanation lab"));
    this.root = shell.root;
    this.#steps = new FeatureSteps((feature) => this.#go(feature));
    this.#editor = new Editor({
      typed: (text) => shell.run({ text }),
      simulate: () => shell.run({ text: this.#editor.value, ask: true }, (reply) => this.#editor.doing(progress(reply, "simulating"), true)),
      simulator: (simulator) => shell.synced.write({ simulator }),
      explain: (by) => this.#start("explain", { by }),
      revise: (by) => this.#start("revise", { by, texts: this.#counter.value.trim() ? [this.#counter.value] : [] }),
      go: (to) => shell.ask("step", { to }, ({ error }) => error && this.#fail(error)),
      accept: (author) => shell.ask("accept", { author }, ({ error }) => (error ? this.#fail(error) : this.#editor.doing("Written to the store.", false))),
      stop: () => {
        if (this.#job) shell.rpc.cancel(this.#job);
        else shell.rpc.cancel("run");
      },
    });
    this.#scores = new Scores(
      (which) => this.#start("effects", { which }),
      () => this.#start("judge", {}),
    );
    this.#history = new Steps((to) => shell.ask("step", { to }, ({ error }) => error && this.#fail(error)));
    const point = (at: Pointed | null, token: Element | null, byKey: boolean): void => this.#point(at, token, byKey);
    this.#windows = new Windows({ scale: (scale) => this.#set({ scale }), threshold: (threshold) => this.#set({ threshold }), point });
    this.#counter = new Counter({
      search: () => this.#start("counter", {}),
      typed: (text) => {
        shell.synced.write({ text });
        this.#askText();
      },
      point,
    });
    this.#table = new Comparison(
      (text) => {
        this.#editor.value = text;
        this.#editor.focus();
        shell.run({ text });
      },
      () => this.#start("table", {}),
    );
    this.#grid = h("div", { class: "ng-lab-top" }, this.#scores.element, this.#history.element, this.#scatter.element);
    const part = {
      body: [h("style", {}, lowerCss()), h("div", { class: "ng-lab-bar" }, this.#steps.element, this.#name, this.#about), this.#editor.element, this.#grid, this.#windows.element, this.#counter.element, this.#table.element],
      size: () => (this.#held.windows.length ? count(this.#held.windows.reduce((n, w) => n + w.real.length, 0), "token") : null),
      empty: () => this.#empty(),
      notice: () => this.#notice(),
      themed: () => this.#scatter.redraw(),
      escape: () => shell.tip.hide(),
    };
    shell.open(mounting.el, part, () => {
      this.#editor.value = shell.synced.get("explanation");
      this.#counter.value = shell.synced.get("text");
      this.#show();
      if (shell.live && shell.synced.get("attached") && this.#counter.value) this.#askText();
    });
    shell.on(["frame", "simulation", "history", "step", "table", "others", "live", "attached", "scale", "threshold", "simulator", "author"], () => this.#later());
    shell.on(["explanation"], () => this.#adopt());
    shell.on(["feature"], () => shell.show());
    shell.on(["text"], () => {
      if (this.#counter.composing || this.#counter.value === shell.synced.get("text")) return;
      this.#counter.value = shell.synced.get("text");
      this.#askText();
    });
  }

  // --- what is shown --------------------------------------------------------------------------------------------

  get #possible(): boolean {
    return this.#bench !== null && this.#bench.problem === null;
  }

  /** One drawing for all traits of a message. */
  #later(): void {
    if (this.#due) return;
    this.#due = true;
    queueMicrotask(() => {
      this.#due = false;
      if (this.#shell.signal.aborted) return;
      this.#shell.rpc.alive();
      this.#shell.guard(() => this.#show());
    });
  }

  /** The kernel's text, unless the person has typed on. */
  #adopt(): void {
    const text = this.#shell.synced.get("explanation");
    if (this.#editor.composing || this.#shell.running || this.#editor.value === text) return;
    this.#editor.value = text;
  }

  #show(): void {
    const { synced } = this.#shell;
    const [bench, simulation] = [synced.get("frame"), synced.get("simulation")];
    if (bench.feature === undefined || simulation.feature !== bench.feature) return;
    const another = this.#bench?.feature !== bench.feature;
    this.#bench = bench as WireBench;
    if (this.#held.of !== bench) this.#held = { of: bench, windows: readWindows(bench) };
    const others = synced.get("others");
    if (this.#extra.of !== others) this.#extra = { of: others, windows: readWindows(others) };
    if (another) {
      this.#shell.tip.hide();
      this.#editor.doing("", false);
      this.#counter.fail("");
      if (!this.#editor.composing) this.#editor.value = synced.get("explanation");
    }
    this.#shell.frame(simulation, () => this.#draw(readSaid(simulation.values ?? [], this.#held.windows), readSaid(simulation.others ?? [], this.#extra.windows)));
  }

  #draw(said: readonly Said[], extra: readonly Said[]): void {
    const { synced, live } = this.#shell;
    const bench = this.#bench;
    if (!bench) return;
    const [simulation, attached, possible] = [synced.get("simulation"), synced.get("attached"), this.#possible];
    const traits = { simulator: synced.get("simulator"), simulators: synced.get("simulators"), explainers: synced.get("explainers"), author: synced.get("author"), history: synced.get("history"), step: synced.get("step"), attached };
    this.#steps.show(bench.feature, bench.n_features, live);
    this.#name.textContent = bench.name;
    this.#about.textContent = bench.split ? `explained from ${count(bench.split.trained, "window")}, tested on ${bench.split.strong} strong and ${bench.split.random} random ones of other documents` : "";
    this.#editor.show({ traits, live, possible, problem: simulation.problem ?? null, asked: simulation.asked ?? false, texts: this.#counter.value.trim() !== "" });
    this.#grid.hidden = this.#windows.element.hidden = !possible;
    const settings = { largest: bench.largest ?? 0, signed: bench.signed, scale: synced.get("scale"), threshold: synced.get("threshold") };
    this.#scores.show(simulation, said, live, attached);
    this.#scatter.show(this.#held.windows, said, settings.threshold * settings.largest);
    this.#history.show(traits.history, traits.step, live);
    this.#windows.show({ windows: this.#held.windows, said, ...settings, judged: simulation.judged ?? {} });
    this.#counter.show(this.#extra.windows, extra, settings, { live, attached, possible });
    this.#table.show(synced.get("table"), live);
    this.#busy();
  }

  #empty(): string | null {
    const problem = this.#bench?.problem;
    if (problem) return [problem.message, problem.hint].filter(Boolean).join(" ");
    return this.#bench ? null : "Nothing to show yet.";
  }

  #notice(): string | null {
    const { synced, live } = this.#shell;
    const wanted = synced.get("feature");
    if (live) return null;
    const shown = this.#bench?.name ?? "";
    if (shown && wanted && wanted !== shown) return `${wanted} is selected; its windows need a kernel. These are of ${shown}.`;
    return "Editing the explanation needs a kernel.";
  }

  #point(at: Pointed | null, token: Element | null, byKey: boolean): void {
    const bench = this.#bench;
    if (!at || !token || !bench) {
      this.#shell.tip.hide();
      return;
    }
    const { window, said, i } = at;
    const [real, value] = [window.real[i] ?? NaN, said.values?.[i]];
    const edge = this.#shell.synced.get("threshold") * (bench.largest ?? 0);
    const factor = this.#shell.synced.get("simulation").factor ?? 1;
    const scaled = factor === 1 ? "" : ` (${compact((value ?? 0) / factor)} × ${compact(factor)})`;
    const mark = value === undefined ? "" : markOf(real, value, edge);
    const told: Fact[] = [
      ["real", compact(real)],
      ["simulated", value === undefined ? said.why || "not simulated" : `${compact(value)}${scaled}`],
      ...(mark ? [["", markWords(mark, compact(edge))] as Fact] : []),
      ["place", window.document < 0 ? `token ${i + 1}` : `document ${window.document}, token ${window.start + i}`],
    ];
    const piece = window.pieces[i] ?? "";
    this.#shell.tip.show(token, [h("div", { class: "ng-piece" }, quoted(piece)), facts(told)]);
    if (byKey) this.#shell.say([quoted(piece), `real ${compact(real)}`, `simulated ${value === undefined ? "nothing" : compact(value)}`, ...(mark ? [mark === "miss" ? "miss" : "false alarm"] : [])].join(", "));
  }

  // --- what is asked --------------------------------------------------------------------------------------------

  #go(feature: number): void {
    const { synced, live } = this.#shell;
    if (live) this.#shell.run({ feature });
    else synced.write({ feature: idOf(synced.get("base"), feature) });
  }

  #set(changes: Partial<Traits>): void {
    this.#shell.synced.write(changes);
    this.#later();
  }

  #askText(): void {
    const text = this.#counter.value;
    this.#shell.ask("text", { text }, ({ error }) => this.#counter.fail(error ? [error.message, error.hint].filter(Boolean).join(" ") : ""));
  }

  /** Something that takes a while; one at a time. */
  #start(kind: Job, payload: object): void {
    if (this.#job) return;
    this.#job = kind;
    this.#editor.doing("…", true);
    this.#busy();
    const done = (reply: Reply): void => {
      this.#job = null;
      this.#busy();
      if (reply.error) this.#fail(reply.error);
      else if (reply.cancelled) this.#editor.doing("Stopped.", false);
      else if (kind === "counter" && reply.found === 0) this.#editor.doing("It is wrong on none of the windows that were read.", false);
      else this.#editor.doing("", false);
    };
    this.#shell.ask(kind, payload, done, (reply) => {
      if (this.#job === kind) this.#editor.doing(progress(reply, ""), true);
    });
  }

  #busy(): void {
    const running = this.#job !== null;
    this.#scores.busy(running);
    this.#counter.busy(running);
    this.#table.busy(running);
  }

  #fail({ message, hint }: { message: string; hint?: string | null }): void {
    this.#editor.failed([message, hint].filter(Boolean).join(" "));
  }
}

function progress({ doing, at, of }: Reply, other: string): string {
  const what = typeof doing === "string" ? doing : other;
  return typeof at === "number" && typeof of === "number" ? `${what}: ${at} of ${of}` : `${what}…`;
}
