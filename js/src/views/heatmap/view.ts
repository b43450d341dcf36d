/**
 * The heatmap view: joins the synced state, this view's own state and the parts of the picture on the common shell.
 * In: the model and the element of a cell. Out: controls, rows of coloured tokens, and a panel about the selected one.
 */
import { copyTokens } from "../../core/clipboard.js";
import { Finder } from "../../core/find.js";
import { count } from "../../core/format.js";
import type { Mounting } from "../../core/mount.js";
import { type Picture, type Row, type Sequence, readFrame, scaleRows, tokenCount } from "../../core/picture.js";
import { type Place, Selection } from "../../core/selection.js";
import { Shell } from "../../core/shell.js";
import { Controls } from "./controls.js";
import { Detail } from "./detail.js";
import { spoken, tipOf } from "./facts.js";
import { Options, arranged } from "./options.js";
import { Rows } from "./rows.js";
import type { Traits } from "./synced.js";
import { type Draft, createUiState } from "./ui-state.js";

/** A row in a list that is being changed; `came`: it was locked before. */
type Entry = Pick<Row, "key" | "locked" | "feature"> & { came: boolean };

/** What a key's row is of: "neurons.0" of "neurons.0/12". */
const owner = (key: string): string => key.replace(/\/\d+$/, "");

export class HeatmapView {
  readonly root: HTMLElement;
  readonly #ui = createUiState();
  readonly #shell: Shell<Traits>;
  readonly #controls: Controls;
  readonly #options: Options;
  readonly #rows: Rows;
  readonly #detail: Detail;
  readonly #selection: Selection<Traits>;
  #picture: Picture | null = null;
  readonly #finders = new WeakMap<Sequence, Finder>();

  constructor(mounting: Mounting<Traits>) {
    const shell = (this.#shell = new Shell(mounting, "heatmap", "token heatmap"));
    this.root = shell.root;
    this.#selection = new Selection(shell, {
      has: ([row, token]) => this.#picture?.rows[row]?.seq.pieces[token] !== undefined,
      row: () => 0,
      show: () => this.#showSelection(),
    });
    this.#controls = new Controls(shell.name, (draft) => shell.run(draft));
    this.#rows = new Rows(
      shell.name,
      {
        point: (place, token) => this.#point(place, token),
        move: (place, token) => {
          this.#point(place, token);
          this.#announce(place);
        },
        pin: (place) => this.#selection.select(this.#selection.is(place) ? null : place),
        escape: () => this.#deselect(),
        remove: (row) => this.#runRows(row, (rows, at) => rows.splice(at, 1)),
        lock: (row) =>
          this.#runRows(row, (rows, at) => {
            const [one] = rows.splice(at, 1);
            if (one) rows.splice(rows.filter(({ locked }) => locked).length, 0, { ...one, locked: !one.locked });
          }),
        shift: (row, by) => this.#runRows(row, (rows, at) => rows.splice(at + by, 0, ...rows.splice(at, 1))),
        choose: (row) => {
          const now = this.#selection.place;
          if (now) this.#selection.select([row, now[1]]);
          else this.#rows.choose(row);
        },
      },
      mounting.signal,
    );
    this.#detail = new Detail({
      close: () => this.#deselect(),
      add: (key, feature) => this.#addRow(key, feature),
    });
    const show = (change: Partial<Traits>): void => {
      shell.synced.write(change);
      this.#restyle();
    };
    this.#options = new Options({
      scale: (scale) => show({ scale }),
      arrange: (arrange) => show({ arrange }),
      wrap: (wrap) => show({ wrap }),
      find: (query) => this.#find(query),
      step: (by) => this.#step(by),
    });
    const part = {
      body: [this.#controls.element, this.#options.element, this.#rows.element, this.#detail.element],
      size: () => this.#picture && count(tokenCount(this.#picture), "token"),
      empty: () => {
        if (this.#picture?.rows.length) return null;
        return shell.live && this.#controls.draft.text === "" ? "Type some text above." : "Nothing to show yet.";
      },
      notice: () => this.#picture?.notice ?? null,
      themed: () => this.#drawRows(),
      escape: () => this.#point(null, null),
    };
    shell.open(mounting.el, part, () => {
      this.#controls.offer(shell.synced.get("choices"));
      this.#controls.show(this.#traits());
      shell.guard(() => this.#showFrame());
      this.#controls.show(this.#traits());
      this.#showControls();
    });
    this.#listen();
  }

  #traits(): Draft {
    const get = this.#shell.synced.get.bind(this.#shell.synced);
    return {
      text: get("text"),
      site: get("site"),
      layer: get("layer"),
      features: get("features"),
      locked: get("locked"),
      compare: get("compare"),
      across: get("across"),
    };
  }

  #listen(): void {
    const shell = this.#shell;
    shell.on(["frame"], () => {
      shell.rpc.alive();
      this.#showFrame();
    });
    shell.on(["scale", "wrap", "arrange"], () => this.#restyle());
    shell.on(["text", "site", "layer", "features", "locked", "compare", "across"], () => {
      if (!this.#drafting) this.#controls.show(this.#traits());
    });
    shell.on(["choices"], () => this.#controls.offer(shell.synced.get("choices")));
    this.#selection.follow();
    shell.on(["live"], () => {
      this.#drawRows();
      this.#showControls();
    });
    this.#detail.element.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.#deselect();
    });
    this.root.addEventListener("copy", (event) => copyTokens(event, (strip) => this.#rows.pieces(strip)));
  }

  #showControls(): void {
    this.#controls.element.hidden = !this.#shell.live;
  }

  /** Our own newest text is not answered yet, or still being composed. */
  get #drafting(): boolean {
    return this.#shell.running || this.#controls.composing;
  }

  // --- requests -------------------------------------------------------------------------------------------------

  #runDraft(change: Partial<Draft>): void {
    const draft = { ...this.#controls.draft, ...change };
    this.#controls.show(draft);
    this.#shell.run(draft);
  }

  /** Asks for other rows: `change` edits the list of those that have a name, of which one is at `at`. */
  #runRows(row: number, change: (rows: Entry[], at: number) => void): void {
    const shown = this.#picture?.rows ?? [];
    const named = shown.filter(({ key }) => key !== "");
    const rows = named.map(({ key, locked, feature }): Entry => ({ key, locked, feature, came: locked }));
    change(rows, named.findIndex((one) => one === shown[row]));
    const source = this.#picture?.source ?? "";
    const stays = ({ key, locked, came }: Entry): boolean =>
      // a row that is let go stays if it is of this site
      !locked && (!came || owner(key) === source);
    const features = this.#picture?.across
      ? this.#picture.features
      : rows.flatMap((one) => (one.feature !== null && stays(one) ? [one.feature] : []));
    this.#runDraft({ features: [...new Set(features)], locked: rows.flatMap(({ locked, key }) => (locked ? [key] : [])) });
  }

  /** A row more: of this site, or one that is kept beside it. */
  #addRow(key: string, feature: number): void {
    const picture = this.#picture;
    const here = !picture?.across && (key === "" || owner(key) === picture?.source);
    this.#runDraft(here ? { features: [...(picture?.features ?? []), feature] } : { locked: [...(picture?.locked ?? []), key] });
  }

  #ask([row, position]: Place): void {
    this.#shell.ask("detail", { row, position }, (reply) => {
      if (this.#selection.is([row, position])) this.#detail.answer(reply, new Set(this.#picture?.rows.map(({ key }) => key)));
    });
  }

  // --- drawing --------------------------------------------------------------------------------------------------

  #showFrame(): void {
    const { synced } = this.#shell;
    const wire = synced.get("frame");
    this.#shell.frame(wire, (ours) => {
      const picture = readFrame(wire, synced.get("scale"));
      this.#picture = picture;
      if (picture && !ours && !this.#drafting) {
        const { text, site, layer, features, locked, compare, across } = picture;
        this.#controls.show({ text, site, layer, features, locked, compare, across });
      }
      this.#search(this.#ui.query);
      this.#drawRows();
    });
  }

  /** Other colours, another arrangement: the same picture. */
  #restyle(): void {
    if (this.#picture) scaleRows(this.#picture.rows, this.#shell.synced.get("scale"));
    this.#drawRows();
  }

  #drawRows(): void {
    const { synced, live, theme } = this.#shell;
    const arrange = arranged(synced.get("arrange"), this.#picture);
    const wrap = synced.get("wrap");
    this.#options.show(this.#picture, { scale: synced.get("scale"), arrange, wrap });
    this.#rows.draw(this.#picture, { live, one: arrange === "one", wrap, theme });
    const { hover } = this.#ui;
    if (hover) this.#point(hover, this.#rows.token(hover));
    this.#showSelection();
    this.#shell.show();
  }

  // --- finding --------------------------------------------------------------------------------------------------

  /** Looks for a text, and goes to the first place where it is. */
  #find(query: string): void {
    this.#search(query);
    this.#ui.hit = this.#ui.hits.length ? 0 : -1;
    this.#showHits(true);
  }

  #search(query: string): void {
    const ui = this.#ui;
    ui.query = query;
    ui.hits = query ? (this.#picture?.seqs ?? []).flatMap((seq) => this.#finder(seq).hits(query).map((hit) => ({ seq, hit }))) : [];
    ui.hit = Math.min(ui.hit, ui.hits.length - 1);
    this.#showHits(false);
  }

  /** Made once for a text: a letter more in the field looks in the same one. */
  #finder(seq: Sequence): Finder {
    let finder = this.#finders.get(seq);
    if (!finder) this.#finders.set(seq, (finder = new Finder(seq.pieces)));
    return finder;
  }

  #step(by: number): void {
    const ui = this.#ui;
    if (!ui.hits.length) return;
    ui.hit = (ui.hit + by + ui.hits.length) % ui.hits.length;
    this.#showHits(true);
  }

  #showHits(go: boolean): void {
    const { hits, hit } = this.#ui;
    const now = hits[hit];
    const found = (this.#picture?.seqs ?? []).map((seq) => ({
      seq,
      hits: hits.flatMap((one) => (one.seq === seq ? [one.hit] : [])),
      now: now?.seq === seq ? now.hit : null,
    }));
    this.#rows.mark(found.filter((one) => one.hits.length), go);
    this.#options.found(hit, hits.length);
  }

  // --- pointing, selecting --------------------------------------------------------------------------------------

  #showSelection(): void {
    const { place } = this.#selection;
    this.#rows.select(place);
    if (!this.#selection.due(this.#picture)) return;
    const { live } = this.#shell;
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
    this.#selection.clear();
  }

  #point(place: Place | null, token: Element | null): void {
    const { tip } = this.#shell;
    this.#ui.hover = place;
    const row = place && this.#picture?.rows[place[0]];
    if (!place || !row || !token || row.seq.pieces[place[1]] === undefined) {
      tip.hide();
      return;
    }
    tip.show(token, tipOf(row, place[1]));
  }

  #announce([r, i]: Place): void {
    const row = this.#picture?.rows[r];
    if (row) this.#shell.say(spoken(row, i));
  }
}
