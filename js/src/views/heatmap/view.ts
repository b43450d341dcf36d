/**
 * The heatmap view: joins the synced state, this view's own state, the requests and the parts of the picture. In: the
 * model and the element of a cell. Out: the picture, kept through errors and a silent kernel, and a status that always
 * says which of the two it is. A frame is drawn when somebody else made it, or when it is not older than what is shown.
 */
import { paletteCss } from "../../core/colour.js";
import { copyTokens } from "../../core/clipboard.js";
import { describe, h, setText, uuid } from "../../core/dom.js";
import { type Model, listen } from "../../core/model.js";
import { type Picture, type Row, readFrame, scaleRows, tokenCount } from "../../core/picture.js";
import { Rpc } from "../../core/rpc.js";
import { followTheme } from "../../core/theme.js";
import { Tooltip } from "../../core/tooltip.js";
import { Controls } from "./controls.js";
import { Detail } from "./detail.js";
import { spoken, tipOf } from "./facts.js";
import { Frame } from "./frame.js";
import { Rows } from "./rows.js";
import { statusOf } from "./status.js";
import { type Place, Synced, type Traits } from "./synced.js";
import { type Draft, createUiState } from "./ui-state.js";

declare const __NG_VERSION__: string;

const STOP_AFTER = 400; // ms of running before the Stop button shows
const FRAME_WAIT = 1_500; // ms that a finished run may wait for its frame

/** A row in a list that is being changed; `came`: it was locked before. */
type Entry = Pick<Row, "key" | "locked" | "feature"> & { came: boolean };

export class HeatmapView {
  readonly root: HTMLElement;
  readonly #name = uuid();
  readonly #ui = createUiState();
  readonly #synced: Synced;
  readonly #rpc: Rpc;
  readonly #frame: Frame;
  readonly #controls: Controls;
  readonly #rows: Rows;
  readonly #detail: Detail;
  readonly #tip = new Tooltip();
  readonly #live = h("div", { class: "ng-offscreen", "aria-live": "polite" });
  #picture: Picture | null = null;
  #subject: unknown[] = []; // what the detail panel was last drawn for
  #stopTimer: ReturnType<typeof setTimeout> | undefined;
  #frameTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(model: Model<Traits>, el: HTMLElement, signal: AbortSignal) {
    this.#synced = new Synced(model, signal);
    this.#rpc = new Rpc({
      view: this.#name,
      version: __NG_VERSION__,
      send: (message) => model.send(message),
      changed: () => this.#showStatus(),
      greeted: ({ version }) => {
        if (typeof version === "string") this.#ui.kernelVersion = version;
      },
    });
    this.#controls = new Controls(this.#name, (draft) => this.#run(draft));
    this.#rows = new Rows(
      this.#name,
      {
        point: (place, token) => this.#point(place, token),
        move: (place, token) => {
          this.#point(place, token);
          this.#announce(place);
        },
        pin: (place) => {
          const now = this.#synced.selected;
          const again = now?.[0] === place[0] && now[1] === place[1];
          this.#synced.select(again ? null : place);
          this.#showSelection();
        },
        escape: () => this.#deselect(),
        remove: (row) => this.#runRows((rows) => rows.splice(row, 1)),
        lock: (row) =>
          this.#runRows((rows) => {
            const [one] = rows.splice(row, 1);
            if (one) rows.splice(rows.filter(({ locked }) => locked).length, 0, { ...one, locked: !one.locked });
          }),
        shift: (row, by) => this.#runRows((rows) => rows.splice(row + by, 0, ...rows.splice(row, 1))),
      },
      signal,
    );
    this.#detail = new Detail({
      close: () => this.#deselect(),
      add: (feature) => this.#runFeatures([...this.#features(), feature]),
    });
    this.#frame = new Frame({
      stop: () => this.#rpc.cancel("run"),
      retry: () => this.#rpc.probe(true),
      code: () => this.#synced.get("code"),
    });
    this.root = h(
      "div",
      { class: "ng ng-heatmap", role: "region", "aria-label": "token heatmap" },
      h("style", {}, paletteCss()),
      this.#frame.head,
      this.#frame.banner,
      this.#controls.element,
      this.#frame.error,
      this.#rows.element,
      this.#frame.empty,
      this.#frame.notice,
      this.#detail.element,
      this.#tip.element,
      this.#live,
    );
    el.append(this.root);
    signal.addEventListener("abort", () => {
      clearTimeout(this.#stopTimer);
      clearTimeout(this.#frameTimer);
      this.#tip.hide();
      this.#rpc.dispose();
      this.root.remove();
    });
    this.#listen(model, signal);
    this.#guard(() => this.#start());
  }

  /** The first picture: an error that came after it stays visible. */
  #start(): void {
    this.#controls.offer(this.#synced.get("choices"));
    this.#controls.show(this.#traits());
    this.#guard(() => this.#showFrame());
    this.#controls.show(this.#traits());
    this.#ui.errorDismissed = false;
    this.#showAll();
    if (this.#synced.get("live")) this.#rpc.probe(true);
  }

  #traits(): Draft {
    const get = this.#synced.get.bind(this.#synced);
    return { text: get("text"), site: get("site"), layer: get("layer"), features: get("features"), locked: get("locked") };
  }

  #listen(model: Model<Traits>, signal: AbortSignal): void {
    const on = (names: (keyof Traits)[], callback: () => void): void => {
      this.#synced.on(names, () => this.#guard(callback));
    };
    on(["frame"], () => {
      this.#rpc.alive();
      this.#showFrame();
    });
    on(["scale"], () => {
      if (this.#picture) scaleRows(this.#picture.rows, this.#synced.get("scale"));
      this.#drawRows();
    });
    on(["text", "site", "layer", "features", "locked"], () => {
      if (!this.#drafting) this.#controls.show(this.#traits());
    });
    on(["choices"], () => this.#controls.offer(this.#synced.get("choices")));
    on(["selected"], () => this.#showSelection());
    on(["error"], () => {
      this.#ui.errorDismissed = false;
      this.#showAll();
    });
    on(["live"], () => {
      this.#drawRows();
      if (this.#synced.get("live")) this.#rpc.probe(true);
    });
    on(["title", "code", "_version"], () => this.#showAll());
    listen(model, "msg:custom", signal, (message) => {
      this.#guard(() => this.#rpc.receive(message));
    });
    listen(model, "comm_live_update", signal, () => {
      if (this.#synced.get("live")) this.#rpc.probe(true);
    });
    const look = followTheme(
      this.root,
      () => this.#synced.get("theme"),
      (theme) => {
        this.root.dataset.theme = theme;
      },
      signal,
    );
    on(["theme"], look);
    const ping = (): void => {
      if (this.#synced.get("live")) this.#rpc.probe();
    };
    this.root.addEventListener("pointerenter", ping);
    this.root.addEventListener("focusin", ping);
    // keys stay in the view: notebooks would act on them
    this.root.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.#point(null, null);
      event.stopPropagation();
    });
    this.#detail.element.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.#deselect();
    });
    this.root.addEventListener("copy", (event) => copyTokens(event, (strip) => this.#rows.pieces(strip)));
  }

  /** Our own newest text is not answered yet, or still being composed. */
  get #drafting(): boolean {
    return this.#rpc.busy("run") || this.#controls.composing;
  }

  // --- requests -------------------------------------------------------------------------------------------------

  #run(draft: Draft): void {
    this.#ui.stopped = false;
    this.#rpc.request("run", { ...draft }, (reply) => {
      if (reply.error) {
        this.#ui.runError = reply.error;
      } else if (reply.cancelled) {
        this.#ui.stopped = true;
      } else if (!reply.superseded && reply.id > this.#ui.drawnId) {
        // hosts deliver messages and traits by different paths: the frame may come a moment later
        this.#ui.awaitedId = reply.id;
        clearTimeout(this.#frameTimer);
        this.#frameTimer = setTimeout(() => {
          this.#ui.awaitedId = 0;
          this.#showStatus();
        }, FRAME_WAIT);
      }
      this.#showAll();
    });
  }

  #runFeatures(features: number[]): void {
    this.#runDraft({ features });
  }

  #runDraft(change: Partial<Draft>): void {
    const draft = { ...this.#controls.draft, ...change };
    this.#controls.show(draft);
    this.#run(draft);
  }

  /** Asks for other rows: `change` edits the list of those that are shown. */
  #runRows(change: (rows: Entry[]) => void): void {
    const shown = this.#picture?.rows ?? [];
    const rows = shown.map(({ key, locked, feature }): Entry => ({ key, locked, feature, came: locked }));
    change(rows);
    const owner = (key: string): string => key.replace(/\/\d+$/, "");
    const here = shown.find(({ locked }) => !locked);
    const stays = ({ key, locked, came }: Entry): boolean =>
      // a row that is let go stays if it is of this site
      !locked && (!came || here === undefined || owner(key) === owner(here.key));
    const features = rows.flatMap((row) => (row.feature !== null && stays(row) ? [row.feature] : []));
    this.#runDraft({ features: [...new Set(features)], locked: rows.flatMap(({ locked, key }) => (locked ? [key] : [])) });
  }

  /** The features that have a row of this site now. */
  #features(): number[] {
    return (this.#picture?.rows ?? []).flatMap(({ feature, locked }) => (feature === null || locked ? [] : [feature]));
  }

  #ask([row, position]: Place): void {
    this.#rpc.request("detail", { row, position }, (reply) => {
      const now = this.#synced.selected;
      if (now?.[0] === row && now[1] === position) this.#detail.answer(reply, this.#features());
    });
  }

  // --- drawing --------------------------------------------------------------------------------------------------

  #showFrame(): void {
    const wire = this.#synced.get("frame");
    const ours = wire.view === this.#name;
    const id = wire.id ?? 0;
    if (ours && id < this.#ui.drawnId) return;
    const picture = readFrame(wire, this.#synced.get("scale"));
    this.#ui.drawError = null;
    if (ours) {
      this.#ui.milliseconds = this.#rpc.elapsed("run", id) ?? this.#ui.milliseconds;
      this.#ui.drawnId = id;
    } else {
      this.#ui.milliseconds = null;
    }
    this.#picture = picture;
    if (picture && !ours && !this.#drafting) {
      const { text, site, layer, features, locked } = picture;
      this.#controls.show({ text, site, layer, features, locked });
    }
    if (this.#ui.awaitedId <= id) this.#ui.awaitedId = 0;
    this.#ui.runError = null;
    this.#ui.errorDismissed = true;
    this.root.dataset.frameId = picture ? String(picture.id) : "";
    this.#drawRows();
  }

  #drawRows(): void {
    this.#rows.draw(this.#picture, this.#synced.get("live"));
    const { hover } = this.#ui;
    if (hover) this.#point(hover, this.#rows.token(hover));
    this.#showSelection();
    this.#showAll();
  }

  #showSelection(): void {
    const place = this.#synced.selected;
    this.#rows.select(place);
    const live = this.#synced.get("live");
    // some hosts report our own change of the trait, some do not: once is enough
    const subject = [this.#picture, live, ...(place ?? [])];
    if (subject.length === this.#subject.length && subject.every((part, k) => part === this.#subject[k])) return;
    this.#subject = subject;
    const row = this.#picture?.rows[place?.[0] ?? -1];
    if (!place || row?.seq.pieces[place[1]] === undefined) {
      this.#detail.hide();
      return;
    }
    this.#detail.show(row, place[1], live);
    if (live) this.#ask(place);
  }

  #deselect(): void {
    this.#point(null, null);
    if (!this.#synced.selected) return;
    this.#synced.select(null);
    this.#showSelection();
  }

  #point(place: Place | null, token: Element | null): void {
    this.#ui.hover = place;
    const row = place && this.#picture?.rows[place[0]];
    if (!place || !row || !token || row.seq.pieces[place[1]] === undefined) {
      this.#tip.hide();
      return;
    }
    this.#tip.show(token, tipOf(row, place[1]));
  }

  #announce([r, i]: Place): void {
    const row = this.#picture?.rows[r];
    if (row) setText(this.#live, spoken(row, i));
  }

  /** Everything around the picture. */
  #showAll(): void {
    const { runError, drawError, errorDismissed } = this.#ui;
    const error = runError ?? drawError ?? (errorDismissed ? null : this.#synced.get("error"));
    this.root.classList.toggle("ng-failed", error !== null);
    this.#frame.showError(error);
    this.#controls.element.hidden = !this.#synced.get("live");
    this.#frame.show({ title: this.#synced.get("title"), code: this.#synced.get("code"), notice: this.#picture?.notice ?? null });
    const emptyText = this.#synced.get("live") && this.#controls.draft.text === "";
    this.#frame.showEmpty(this.#picture?.rows.length ? null : emptyText ? "Type some text above." : "Nothing to show yet.");
    this.#showStatus();
  }

  #showStatus(): void {
    const { stopped, milliseconds, awaitedId, kernelVersion } = this.#ui;
    const python: string = this.#synced.get("_version");
    const stale = [python, kernelVersion ?? python].find((version) => version !== __NG_VERSION__);
    const live = this.#synced.get("live");
    const running = this.#rpc.busy("run") || awaitedId > 0;
    const tokens = this.#picture && tokenCount(this.#picture);
    const { state, text } = statusOf({ live, dead: this.#rpc.dead, running, stopped, tokens, milliseconds });
    this.root.dataset.status = stale === undefined ? state : "stale";
    this.#frame.showStatus(text);
    this.#frame.showBanner(state === "dead", stale === undefined ? null : { bundle: __NG_VERSION__, python: stale });
    if (state !== "running") {
      clearTimeout(this.#stopTimer);
      this.#stopTimer = undefined;
      this.#frame.stop.hidden = true;
    } else {
      this.#stopTimer ??= setTimeout(() => {
        this.#frame.stop.hidden = false;
      }, STOP_AFTER);
    }
  }

  /** An exception while drawing becomes an error in the cell. */
  #guard(draw: () => void): void {
    try {
      draw();
    } catch (thrown) {
      this.#ui.drawError = { ...describe(thrown), hint: "The picture could not be drawn; the rest of the notebook is not affected." };
      this.#showAll();
    }
  }
}
