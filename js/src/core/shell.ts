/**
 * The ground that every view stands on: its root element and what surrounds the picture, theme, requests, runs and
 * their frames, errors, status. In: model, element and signal, and from the view what it shows in the middle, how large
 * that is, and how a frame is drawn. Out: an element in the cell that always says what state it is in; a picture is
 * kept through errors and a silent kernel. A frame is drawn when somebody else made it, or when it is not older than
 * what is shown.
 */
import { cellRuns } from "./busy.js";
import { Chrome } from "./chrome.js";
import { type Theme, paletteCss } from "./colour.js";
import { describe, h, setText, uuid } from "./dom.js";
import { Links } from "./links.js";
import { listen } from "./model.js";
import type { Mounting } from "./mount.js";
import type { ErrorInfo, Kind, Reply } from "./protocol.js";
import { Rpc } from "./rpc.js";
import { type RunState, createRunState } from "./run-state.js";
import { statusOf } from "./status.js";
import { followTheme } from "./theme.js";
import { Tooltip } from "./tooltip.js";
import { type BaseTraits, Synced } from "./traits.js";

declare const __NG_VERSION__: string;

const STOP_AFTER = 400; // ms of running before the Stop button shows
const FRAME_WAIT = 1_500; // ms that a finished run may wait for its frame

export interface Part {
  /** What stands between the chrome above and the notice below. */
  body: readonly Node[];
  /** "12 tokens"; null: there is no picture. */
  size: () => string | null;
  /** What to say where there is no picture; null: there is one. */
  empty: () => string | null;
  /** What the picture leaves out, if anything. */
  notice: () => string | null;
  /** The theme is another one: canvases are drawn anew. */
  themed?: () => void;
  /** Escape was pressed, or the view goes away. */
  escape: () => void;
}

export class Shell<T extends BaseTraits> {
  readonly root: HTMLElement;
  readonly name = uuid();
  readonly synced: Synced<T>;
  readonly rpc: Rpc;
  readonly tip = new Tooltip();
  readonly signal: AbortSignal;
  readonly #chrome: Chrome;
  readonly #links: Links<T>;
  readonly #spoken = h("div", { class: "ng-offscreen", "aria-live": "polite" });
  readonly #state: RunState = createRunState();
  #part: Part | null = null;
  #stopTimer: ReturnType<typeof setTimeout> | undefined;
  #frameTimer: ReturnType<typeof setTimeout> | undefined;

  constructor({ model, signal, host }: Mounting<T>, kind: string, label: string) {
    this.signal = signal;
    this.synced = new Synced(model, signal);
    this.rpc = new Rpc({
      view: this.name,
      version: __NG_VERSION__,
      send: (message) => model.send(message),
      changed: () => this.#showStatus(),
      busy: () => cellRuns(this.root),
      fellSilent: () => this.#links.pass(),
      greeted: ({ version }) => {
        if (typeof version === "string") this.#state.kernelVersion = version;
      },
    });
    this.#chrome = new Chrome({
      stop: () => this.rpc.cancel("run"),
      retry: () => this.rpc.probe(true),
      code: () => this.synced.get("code"),
    });
    const offline = (): boolean => model.get("_offline") === true;
    // static views ask too whether a kernel is there, before they pass anything on themselves
    const ask = (): void => {
      if (!offline()) this.rpc.probe();
    };
    this.#links = new Links(this.synced, host, () => offline() || this.rpc.dead, ask, signal);
    this.root = h("div", { class: `ng ng-${kind}`, role: "region", "aria-label": label });
  }

  get theme(): Theme {
    return this.root.dataset.theme === "dark" ? "dark" : "light";
  }

  get live(): boolean {
    return this.synced.get("live");
  }

  /** Puts the view into its element and draws it for the first time. */
  open(el: HTMLElement, part: Part, first: () => void): void {
    this.#part = part;
    this.root.append(
      h("style", {}, paletteCss()),
      this.#chrome.head,
      this.#chrome.banner,
      this.#chrome.error,
      ...part.body,
      this.#chrome.empty,
      this.#chrome.notice,
      this.tip.element,
      this.#spoken,
    );
    el.append(this.root);
    this.signal.addEventListener("abort", () => {
      clearTimeout(this.#stopTimer);
      clearTimeout(this.#frameTimer);
      this.tip.hide();
      this.rpc.dispose();
      this.root.remove();
    });
    this.#listen();
    this.guard(() => {
      this.guard(first);
      this.#state.errorDismissed = false; // an error that came after the first picture stays visible
      this.show();
      if (this.live) this.rpc.probe(true);
    });
  }

  #listen(): void {
    const { synced, root, signal } = this;
    this.on(["error"], () => {
      this.#state.errorDismissed = false;
      this.show();
    });
    this.on(["live"], () => {
      this.show();
      if (this.live) this.rpc.probe(true);
    });
    this.on(["title", "code", "_version"], () => this.show());
    listen(synced.model, "msg:custom", signal, (message) => {
      this.guard(() => this.rpc.receive(message));
    });
    listen(synced.model, "comm_live_update", signal, () => {
      if (this.live) this.rpc.probe(true);
    });
    const look = followTheme(
      root,
      () => synced.get("theme"),
      (theme) => {
        if (root.dataset.theme === theme) return;
        root.dataset.theme = theme;
        this.#part?.themed?.();
      },
      signal,
    );
    this.on(["theme"], look);
    const ping = (): void => {
      if (this.live) this.rpc.probe();
    };
    root.addEventListener("pointerenter", ping);
    root.addEventListener("focusin", ping);
    // keys stay in the view: notebooks would act on them
    root.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.#part?.escape();
      event.stopPropagation();
    });
  }

  /** Calls back when one of these traits changes; what is thrown becomes an error in the cell. */
  on(names: readonly (keyof T & string)[], callback: () => void): void {
    this.synced.on(names, () => {
      this.guard(callback);
    });
  }

  /** An exception while drawing becomes an error in the cell. */
  guard(draw: () => void): void {
    try {
      draw();
    } catch (thrown) {
      this.#state.drawError = { ...describe(thrown), hint: "The picture could not be drawn; the rest of the notebook is not affected." };
      this.show();
    }
  }

  /** Says something to screen readers. */
  say(text: string): void {
    setText(this.#spoken, text);
  }

  // --- requests -------------------------------------------------------------------------------------------------

  ask(kind: Kind, payload: object, done: (reply: Reply) => void, progress?: (reply: Reply) => void): void {
    this.rpc.request(kind, payload, this.#guarded(done), progress && this.#guarded(progress));
  }

  #guarded(call: (reply: Reply) => void): (reply: Reply) => void {
    return (reply) => {
      this.guard(() => {
        call(reply);
      });
    };
  }

  /** Asks for a new picture; it comes as the `frame` trait. Of one that streams, `progress` gets what comes before it. */
  run(payload: object, progress?: (reply: Reply) => void): void {
    const state = this.#state;
    state.stopped = false;
    const answered = (reply: Reply): void => {
      if (reply.error) {
        state.runError = reply.error;
      } else if (reply.cancelled) {
        state.stopped = true;
      } else if (!reply.superseded && reply.id > state.drawnId) {
        // hosts deliver messages and traits by different paths: the frame may come a moment later
        state.awaitedId = reply.id;
        clearTimeout(this.#frameTimer);
        this.#frameTimer = setTimeout(() => {
          state.awaitedId = 0;
          this.#showStatus();
        }, FRAME_WAIT);
      }
      this.show();
    };
    this.rpc.request("run", payload, answered, progress && this.#guarded(progress));
  }

  /** Our own newest run is not answered yet. */
  get running(): boolean {
    return this.rpc.busy("run");
  }

  /**
   * Draws a frame that came, unless it is older than what is shown; `draw` is told whether it answers a run of ours.
   */
  frame(wire: { view?: string; id?: number }, draw: (ours: boolean) => void): void {
    const state = this.#state;
    const ours = wire.view === this.name;
    const id = wire.id ?? 0;
    if (ours && id < state.drawnId) return;
    draw(ours);
    state.drawError = null;
    if (ours) {
      state.milliseconds = this.rpc.elapsed("run", id) ?? state.milliseconds;
      state.drawnId = id;
    } else {
      state.milliseconds = null;
    }
    if (state.awaitedId <= id) state.awaitedId = 0;
    state.runError = null;
    state.errorDismissed = true;
    this.root.dataset.frameId = String(id);
    this.show();
  }

  // --- drawing --------------------------------------------------------------------------------------------------

  get #error(): ErrorInfo | null {
    const { runError, drawError, errorDismissed } = this.#state;
    return runError ?? drawError ?? (errorDismissed ? null : this.synced.get("error"));
  }

  /** Everything around the picture. */
  show(): void {
    const error = this.#error;
    this.root.classList.toggle("ng-failed", error !== null);
    this.#chrome.showError(error);
    const part = this.#part;
    this.#chrome.show({ title: this.synced.get("title"), code: this.synced.get("code"), notice: part?.notice() ?? null });
    this.#chrome.showEmpty(part?.empty() ?? null);
    this.#showStatus();
  }

  #showStatus(): void {
    const { stopped, milliseconds, awaitedId, kernelVersion } = this.#state;
    const python: string = this.synced.get("_version");
    const stale = [python, kernelVersion ?? python].find((version) => version !== __NG_VERSION__);
    const { state, text } = statusOf({
      live: this.live,
      dead: this.rpc.dead,
      waiting: this.rpc.waiting,
      running: this.running || awaitedId > 0,
      stopped,
      failed: this.#error !== null,
      size: this.#part?.size() ?? null,
      milliseconds,
    });
    this.root.dataset.status = stale === undefined ? state : "stale";
    this.#chrome.showStatus(text);
    this.#chrome.showBanner(state === "dead", stale === undefined ? null : { bundle: __NG_VERSION__, python: stale });
    if (state !== "running") {
      clearTimeout(this.#stopTimer);
      this.#stopTimer = undefined;
      this.#chrome.stop.hidden = true;
    } else {
      this.#stopTimer ??= setTimeout(() => {
        this.#chrome.stop.hidden = false;
      }, STOP_AFTER);
    }
  }
}
