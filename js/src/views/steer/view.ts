/**
 * The Steer view: sliders, how the texts are written, the two texts as they come, readouts, dose–response, on the common
 * shell. In: the model and the element of a cell. Every move asks for a run with all settings; tokens stream in as replies
 * to it, and those of an older request are never drawn: the requests' channel passes on the newest only.
 */
import { copyTokens } from "../../core/clipboard.js";
import { focusable, h, setText } from "../../core/dom.js";
import { FeatureFinder } from "../../core/feature-finder.js";
import { count, quoted } from "../../core/format.js";
import type { Mounting } from "../../core/mount.js";
import type { Reply } from "../../core/protocol.js";
import { SettingsPanel } from "../../core/settings-panel.js";
import { Shell } from "../../core/shell.js";
import type { About, Slider } from "../../core/slider.js";
import { SliderList } from "../../core/slider-list.js";
import { Strip } from "../../core/strip.js";
import { TokenPointer } from "../../core/token-pointer.js";
import { Dose } from "./dose.js";
import { Pair } from "./pair.js";
import { factList, summary } from "./panel.js";
import { type Traits, WRITING, type Writing } from "./synced.js";
import { readoutsOf } from "./texts.js";
import type { WireEvent, WireTexts } from "./wire.js";
import { WritingControls } from "./writing.js";

export class SteerView {
  readonly #shell: Shell<Traits>;
  readonly #sliders: SliderList;
  readonly #finder: FeatureFinder;
  readonly #settings: SettingsPanel;
  readonly #writing: WritingControls;
  readonly #prompt: Strip;
  readonly #promptLine: HTMLElement;
  readonly #promptPointer: TokenPointer;
  readonly #pair: Pair;
  readonly #dose: Dose;
  readonly #readout = focusable(h("select", { class: "ng-readout", "aria-label": "what colours the tokens" }));
  readonly #facts = h("div", { class: "ng-facts-box" });
  readonly #bar: HTMLElement;
  #draft: Writing;
  #events: readonly WireEvent[] = [];
  #pieces: readonly string[] = []; // of the prompt
  #n = 1;
  #followed: readonly string[] = []; // tokens whose numbers the events have
  #generation = 0; // the request whose tokens are shown

  constructor({ model, el, signal, host }: Mounting<Traits>) {
    const shell = (this.#shell = new Shell({ model, el, signal, host }, "steer", "steering"));
    this.#draft = this.#traits();
    this.#sliders = new SliderList({
      changed: () => this.#run(),
      measure: (features) => this.#measure(features),
      sweep: (slider, values) => this.#sweep(slider, values),
    });
    this.#settings = new SettingsPanel(
      () => ({ ...this.#draft, sliders: this.#sliders.sliders }),
      (settings) => shell.ask("settings", { settings }, (reply) => this.#given(reply)),
    );
    this.#finder = new FeatureFinder({
      search: (request) => shell.ask("search", request, (reply) => this.#finder.answer(reply)),
      contrast: (request) => shell.ask("contrast", request, (reply) => this.#finder.answer(reply)),
      add: (found) => {
        const known = Object.fromEntries(found.map((one) => [one.id, one]));
        this.#sliders.set([...this.#sliders.sliders, ...found.map(({ slider }) => slider)], known);
      },
    });
    this.#writing = new WritingControls((change) => {
      this.#draft = { ...this.#draft, ...change };
      this.#run();
    });
    this.#prompt = new Strip(signal);
    this.#prompt.element.setAttribute("aria-label", "the prompt as the model reads it");
    this.#promptPointer = new TokenPointer(this.#prompt, {
      point: (i, _, byKey) => {
        if (byKey && i !== null) shell.say(`${quoted(this.#pieces[i] ?? "")}, token ${i + 1}`);
      },
      pick: (i) => {
        if (shell.live) this.#finder.at(i, this.#pieces[i] ?? "");
      },
    });
    this.#promptLine = h("div", { class: "ng-prompt" }, h("div", { class: "ng-half-head" }, "the prompt, as the model reads it"), this.#prompt.element);
    this.#pair = new Pair(signal, shell.tip, (text) => shell.say(text), () => this.#draw());
    this.#dose = new Dose(() => shell.rpc.cancel("dose"));
    this.#readout.addEventListener("change", () => {
      shell.synced.write({ readout: this.#readout.value });
      this.#draw();
    });
    this.#bar = h("div", { class: "ng-bar-line" }, h("label", { class: "ng-field" }, h("span", { class: "ng-name" }, "colours"), this.#readout));
    const part = {
      body: [this.#sliders.element, this.#finder.element, this.#settings.element, this.#writing.element, this.#promptLine, this.#bar, this.#pair.element, this.#facts, this.#dose.element],
      size: () => (this.#events.length ? count(this.#events.length, "token") : null),
      empty: () => (this.#events.length ? null : "Nothing written yet."),
      notice: () => (shell.synced.get("frame").stopped && !shell.running ? `Stopped after ${count(this.#events.length, "token")}.` : null),
      escape: () => shell.tip.hide(),
    };
    shell.open(el, part, () => {
      this.#showSettings();
      this.#showFrame();
      this.#dose.show(shell.synced.get("sweep"));
    });
    this.#listen();
  }

  #traits(): Writing {
    const get = this.#shell.synced.get.bind(this.#shell.synced);
    return Object.fromEntries(WRITING.map((name) => [name, get(name)])) as unknown as Writing;
  }

  #listen(): void {
    const shell = this.#shell;
    shell.on(["frame"], () => {
      shell.rpc.alive();
      this.#showFrame();
    });
    shell.on([...WRITING, "sliders", "choices", "live"], () => {
      if (!this.#busy) this.#showSettings();
    });
    shell.on(["known"], () => this.#showSliders(this.#sliders.sliders));
    shell.on(["readout"], () => this.#draw());
    shell.on(["sweep"], () => this.#dose.show(shell.synced.get("sweep")));
    shell.root.addEventListener("copy", (event) => copyTokens(event, (strip) => this.#pair.pieces(strip)));
  }

  /** What is shown in the controls is newer than what Python knows. */
  get #busy(): boolean {
    return this.#shell.running || this.#writing.composing;
  }

  // --- requests -------------------------------------------------------------------------------------------------

  #run(): void {
    if (!this.#shell.live) return;
    this.#pair.old = true;
    this.#shell.run({ ...this.#draft, sliders: this.#sliders.sliders }, (reply) => this.#arrived(reply));
    this.#settings.show(true);
    this.#shell.show();
  }

  /** What the kernel read in pasted settings: it is run as if a person had set all of it by hand. */
  #given(reply: Reply & { settings?: Writing & { sliders: Slider[] }; known?: Record<string, About> }): void {
    if (reply.settings) {
      const { sliders, ...writing } = reply.settings;
      this.#draft = writing;
      this.#writing.show(writing, this.#shell.synced.get("choices").chat ?? false);
      this.#sliders.set(sliders, reply.known);
    }
    this.#settings.answer(reply);
  }

  /** One more token of the newest request. */
  #arrived({ id, event, prompt }: Reply & { event?: WireEvent; prompt?: WireTexts["prompt"] }): void {
    if (!event) return;
    if (prompt) this.#showPrompt(prompt);
    const first = id !== this.#generation;
    this.#generation = id;
    this.#events = first ? [event] : [...this.#events, event];
    this.#n = event.base.ids.length;
    this.#followed = this.#draft.tokens;
    this.#pair.old = false;
    this.#draw();
  }

  #measure(features: string[]): void {
    const shell = this.#shell;
    shell.say("measuring");
    shell.ask(
      "calibrate",
      { features },
      (reply) => {
        this.#measuring(null);
        if (reply.error) shell.say(reply.error.message);
        else this.#showSliders(this.#sliders.sliders);
      },
      (reply) => this.#measuring(reply.progress as [number, number]),
    );
    this.#measuring([0, 1]);
  }

  #measuring(progress: readonly [number, number] | null): void {
    for (const one of this.#sliders.element.querySelectorAll<HTMLButtonElement>(".ng-measure")) {
      one.disabled = progress !== null;
      setText(one, progress ? `Measuring… ${Math.round((100 * progress[0]) / progress[1])}%` : "Measure");
    }
  }

  #sweep(slider: number, values: number[]): void {
    this.#dose.progress(0);
    this.#shell.ask(
      "dose",
      { slider, values, n: 3 },
      ({ error }) => this.#dose.progress(null, error ? [error.message, error.hint].filter(Boolean).join(" ") : ""),
      ({ progress }) => {
        const [done, total] = progress as [number, number];
        this.#dose.progress(done / total);
      },
    );
  }

  // --- drawing --------------------------------------------------------------------------------------------------

  #showSettings(): void {
    const { synced } = this.#shell;
    this.#draft = this.#traits();
    this.#writing.show(this.#draft, synced.get("choices").chat ?? false);
    this.#finder.offer(synced.get("choices"));
    this.#finder.element.hidden = this.#writing.element.hidden = !this.#shell.live;
    this.#showSliders(synced.get("sliders"));
    this.#settings.show(this.#shell.live);
  }

  #showSliders(sliders: Slider[]): void {
    const { synced } = this.#shell;
    this.#sliders.show(sliders, synced.get("known"), synced.get("choices"), this.#shell.live);
  }

  #showFrame(): void {
    const { synced } = this.#shell;
    const wire = synced.get("frame");
    if (!wire.events) return;
    const { events, prompt, n = 1, tokens = [] } = wire;
    // a run of ours that is younger streams already
    if (wire.view === this.#shell.name && (wire.id ?? 0) < this.#generation) return;
    if (wire.view !== this.#shell.name && this.#shell.running) return;
    this.#shell.frame(wire, () => {
      this.#events = events;
      this.#n = n;
      this.#followed = tokens;
      this.#pair.old = this.#shell.running && wire.view !== this.#shell.name;
      if (prompt) this.#showPrompt(prompt);
      this.#draw();
    });
  }

  #showPrompt({ pieces, kinds }: WireTexts["prompt"]): void {
    this.#pieces = pieces;
    this.#prompt.update(pieces, (i) => (["", " ng-raw", " ng-special"][kinds[i] ?? 0] ?? "") + this.#promptPointer.classOf(i));
  }

  #draw(): void {
    const { synced, root } = this.#shell;
    const label = (feature: string): string => synced.get("known")[feature]?.label ?? feature.split("/").slice(-2).join("/");
    const readouts = readoutsOf(this.#events, label);
    const wish = synced.get("readout");
    // a feature that is steered no more has no values: the first readout stands in
    const readout = readouts.find(({ key }) => key === wish) ?? readouts[0];
    if (!readout) return;
    const names = readouts.map(({ key, name }) => `${key} ${name}`).join();
    if (this.#readout.dataset.names !== names) {
      this.#readout.dataset.names = names;
      this.#readout.replaceChildren(...readouts.map(({ key, name, what }) => h("option", { value: key, title: what || null }, name)));
    }
    this.#readout.value = readout.key;
    this.#pair.draw(this.#events, this.#n, readout);
    this.#facts.replaceChildren(...(this.#events.length ? [factList(summary(this.#events, this.#pair.sample, this.#followed, label))] : []));
    root.dataset.generation = String(this.#generation);
    root.dataset.tokens = String(this.#events.length);
    this.#shell.show();
  }
}
