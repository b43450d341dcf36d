/**
 * The browser of features: conditions, a prompt, the table of those that fit, and what a person says of them, on the
 * common shell. In: the model and the element of a cell. Out: a run for each change of the conditions or the order, and
 * requests for rows that are scrolled to; what is said of features goes out one by one, so that none is lost.
 */
import { copyText } from "../../core/clipboard.js";
import { type Packed, decodeInts } from "../../core/codec.js";
import { h } from "../../core/dom.js";
import { idOf, indexOf } from "../../core/feature-id.js";
import { count } from "../../core/format.js";
import { mountRef } from "../../core/host.js";
import type { Mounting } from "../../core/mount.js";
import { Outbox } from "../../core/outbox.js";
import type { Reply } from "../../core/protocol.js";
import { Shell } from "../../core/shell.js";
import { type Pick, Table, type TableColumn } from "../../core/table.js";
import { Bar } from "./bar.js";
import { columnsOf } from "./columns.js";
import { Filters } from "./filters.js";
import { Panel } from "./panel.js";
import { PromptSearch } from "./prompt.js";
import { type Row, Rows } from "./rows.js";
import type { Query, Said, Traits, WireFrame, WirePrompt, WireRows } from "./synced.js";

const FOLLOW = 90; // ms: while an arrow key is held, the selection does not follow each step
const UPWARD = new Set(["feature", "explanation", "top_token", "lists", "note", "at"]); // sorted from A at first
const PROMPT = ["prompt", "tokens", "by", "bos"] as const;
const ABOUT = ["prompt", "text", "logit", "token"] as const; // conditions that bring a value to sort by

export class BrowserView {
  readonly #shell: Shell<Traits>;
  readonly #filters: Filters;
  readonly #prompt: PromptSearch;
  readonly #bar: Bar;
  readonly #table: Table<Row>;
  readonly #panel: Panel;
  readonly #outbox: Outbox;
  readonly #page = h("div", { class: "ng-slot", hidden: true });
  readonly #rows = new Rows();
  #pageLife: AbortController | null = null;
  #columns: TableColumn<Row>[] = [];
  #ticked = new Set<number>();
  #anchor = 0; // where a range begins
  #result = -1; // that is drawn
  #fresh = 0;
  #wanted: string | null = null; // the rows that were asked for last and are not there yet
  #ours = ""; // the feature that was selected here
  #followed: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly mounting: Mounting<Traits>) {
    const shell = (this.#shell = new Shell(mounting, "browser", "features"));
    this.#outbox = new Outbox((kind, payload, done) => shell.ask(kind, payload, done), (error) => this.#filters.complain(`${error.message} ${error.hint ?? ""}`));
    this.#filters = new Filters((query) => this.#ask({ ...query, ...this.#part(PROMPT) }), shell.signal);
    this.#prompt = new PromptSearch(
      {
        typed: (prompt) => shell.ask("tokenise", { prompt }, (reply) => this.#tokenised(reply)),
        changed: (query) => this.#ask({ ...this.#without(PROMPT), ...query }),
        say: (text) => shell.say(text),
      },
      shell.signal,
    );
    this.#bar = new Bar({
      all: () => shell.ask("choose", { from: 0, to: this.#total }, () => shell.say("all ticked")),
      none: () => this.#tick([]),
      only: () => this.#run({ subset: [...this.#ticked] }),
      every: () => this.#run({ subset: [] }),
      put: (name) => this.#outbox.send("put", { name, features: [...this.#ticked] }),
      drop: (name) => this.#outbox.send("drop", { name, features: [...this.#ticked] }),
      copy: () => this.#copy(),
      clear: () => {
        this.#filters.clear();
        this.#ask({});
      },
      column: (name, on) => {
        const others = shell.synced.get("columns").filter((one) => one !== name);
        shell.synced.write({ columns: on ? [...others, name] : others });
        this.#draw(false);
      },
    });
    this.#table = new Table<Row>(
      shell.name,
      "features: a row each; Enter selects, Space ticks, 1 to 5 rate, N writes a note",
      {
        need: (from, to, down) => this.#need(from, to, down),
        sort: (column) => this.#sort(column),
        pick: (i, how) => this.#pick(i, how),
        moved: (i, column, sideways) => this.#moved(i, column, sideways),
        key: (event, i) => this.#key(event, i),
        escape: () => this.#select(null),
      },
      shell.signal,
    );
    this.#panel = new Panel({
      rate: (feature, value) => this.#outbox.send("rate", { features: [feature], value }),
      note: (feature, text) => this.#outbox.send("note", { feature, text }),
      drop: (feature, name) => this.#outbox.send("drop", { name, features: [feature] }),
      close: () => this.#select(null),
    });
    const part = {
      body: [this.#filters.element, this.#prompt.element, this.#bar.element, this.#table.element, this.#panel.element, this.#page],
      size: () => (this.#frame ? count(this.#total, "feature") : null),
      empty: () => (this.#frame ? this.#frame.empty : "Nothing to show yet."),
      notice: () => this.#notice(),
      escape: () => this.#bar.close(),
    };
    shell.signal.addEventListener("abort", () => {
      clearTimeout(this.#followed);
      this.#pageLife?.abort();
    });
    shell.open(mounting.el, part, () => this.#showFrame());
    this.#listen();
  }

  #listen(): void {
    const shell = this.#shell;
    shell.on(["frame"], () => {
      shell.rpc.alive();
      this.#showFrame();
    });
    shell.on(["columns", "chosen", "remarks", "choices"], () => this.#draw(false));
    shell.on(["live", "attached", "query", "subset", "dashboard"], () => this.#draw(false));
    shell.on(["feature"], () => {
      this.#draw(false);
      if (shell.synced.get("feature") !== this.#ours) this.#reveal();
    });
  }

  // --- what there is --------------------------------------------------------------------------------------------

  get #frame(): WireFrame | null {
    const frame = this.#shell.synced.get("frame");
    return frame.rows ? (frame as WireFrame) : null;
  }

  get #total(): number {
    return this.#frame?.total ?? 0;
  }

  get #query(): Query {
    return this.#shell.synced.get("query");
  }

  get #selected(): number | null {
    const { synced } = this.#shell;
    return indexOf(synced.get("feature"), synced.get("base"));
  }

  /** What was said of a feature: newer than what came with its row. */
  readonly #saidOf = (row: Row): Said | null => this.#shell.synced.get("remarks").of?.[String(row.feature)] ?? row.said;

  #part(names: readonly (keyof Query)[]): Query {
    return Object.fromEntries(Object.entries(this.#query).filter(([name]) => names.includes(name as keyof Query)));
  }

  #without(names: readonly (keyof Query)[]): Query {
    return Object.fromEntries(Object.entries(this.#query).filter(([name]) => !names.includes(name as keyof Query)));
  }

  #notice(): string | null {
    const frame = this.#frame;
    if (!frame) return null;
    const [total, known] = [frame.total, this.#rows.known];
    const cut = !this.#shell.live && known < total ? `The first ${known.toLocaleString("en-US")} of ${total.toLocaleString("en-US")} rows are in this page; in a notebook, all of them can be searched and sorted.` : "";
    return [cut, frame.notice].filter(Boolean).join(" ") || null;
  }

  // --- requests -------------------------------------------------------------------------------------------------

  /** Another query; one that brings a value of its own is sorted by it. */
  #ask(query: Query): void {
    const before = this.#query;
    const about = ABOUT.some((name) => String(query[name] ?? "") !== String(before[name] ?? "")) || String(query.tokens) !== String(before.tokens);
    this.#run({ query, ...(about && { sort: "", descending: true }) });
  }

  #run(change: Change): void {
    const shell = this.#shell;
    if (!shell.live) return;
    shell.ask("run", change, ({ error, superseded }) => {
      if (superseded) return;
      this.#filters.complain(error ? `${error.message} ${error.hint ?? ""}` : null);
    });
  }

  #sort(column: string): void {
    const frame = this.#frame;
    if (!frame || !this.#shell.live) return;
    const descending = frame.sort === column ? !frame.descending : !UPWARD.has(column);
    this.#run({ sort: column, descending });
    this.#shell.say(`sorted by ${column}, ${descending ? "descending" : "ascending"}`);
  }

  #tokenised(reply: Reply): void {
    if (reply.error) this.#filters.complain(`${reply.error.message} ${reply.error.hint ?? ""}`);
    else this.#prompt.tokens(reply as Reply & WirePrompt);
  }

  #need(from: number, to: number, down: boolean): void {
    const missing = this.#shell.live ? this.#rows.missing(from, to, this.#total, down) : null;
    const wanted = missing && `${missing.from} ${missing.to} ${this.#result}`;
    if (!missing || wanted === this.#wanted) return;
    this.#wanted = wanted;
    this.#shell.ask("rows", missing, (reply) => {
      if (this.#wanted === wanted) this.#wanted = null;
      if (!reply.error && !reply.superseded && this.#rows.take(reply as Reply & WireRows)) this.#table.refresh();
    });
  }

  async #copy(): Promise<boolean> {
    const features = this.#ticked.size ? [...this.#ticked] : await this.#everyIndex();
    return copyText(`[${features.join(", ")}]`, this.#bar.element);
  }

  #everyIndex(): Promise<number[]> {
    const here = this.#rows.features(0, this.#total) ?? this.#rows.features(0, this.#rows.known) ?? [];
    if (!this.#shell.live || here.length === this.#total) return Promise.resolve(here);
    return new Promise((resolve) => {
      this.#shell.ask("indices", {}, (reply) => resolve(reply.error ? here : [...decodeInts(reply.features as Packed, "features")]));
    });
  }

  // --- what a person does ---------------------------------------------------------------------------------------

  #pick(i: number, how: Pick): void {
    const row = this.#rows.at(i);
    if (!row) return;
    if (how === "set") {
      this.#anchor = i;
      this.#select(row.feature);
    } else if (how === "toggle") {
      this.#anchor = i;
      const ticked = new Set(this.#ticked);
      if (!ticked.delete(row.feature)) ticked.add(row.feature);
      this.#tick([...ticked]);
      this.#shell.say(`feature ${row.feature} ${ticked.has(row.feature) ? "ticked" : "not ticked"}, ${ticked.size} in all`);
    } else {
      const [from, to] = [Math.min(i, this.#anchor), Math.max(i, this.#anchor) + 1];
      const here = this.#rows.features(from, to);
      if (here) this.#tick([...new Set([...this.#ticked, ...here])]);
      else this.#shell.ask("choose", { from, to }, () => undefined);
      this.#shell.say(`${to - from} rows ticked`);
    }
  }

  #tick(chosen: number[]): void {
    this.#shell.synced.write({ chosen });
    this.#draw(false);
  }

  #select(feature: number | null): void {
    clearTimeout(this.#followed);
    const { synced } = this.#shell;
    const id = idOf(synced.get("base"), feature);
    this.#ours = id;
    if (synced.get("feature") === id) return;
    synced.write({ feature: id });
    this.#draw(false);
  }

  #moved(i: number, column: number, sideways: boolean): void {
    const what = this.#columns[column];
    const row = i < 0 ? null : this.#rows.at(i);
    if (!row || !what) {
      this.#shell.say(i < 0 && what ? `${what.label}: ${what.what}; Enter sorts` : `row ${i + 1}`);
      return;
    }
    const where = `feature ${row.feature}, row ${i + 1} of ${this.#total.toLocaleString("en-US")}`;
    this.#shell.say(sideways ? what.say(row) : column === 0 ? where : `${where}, ${what.say(row)}`);
    if (sideways) return;
    clearTimeout(this.#followed);
    this.#followed = setTimeout(() => this.#select(row.feature), FOLLOW);
  }

  #key(event: KeyboardEvent, i: number): void {
    const row = this.#rows.at(i);
    if (event.ctrlKey || event.metaKey) {
      if (event.key !== "a" || !this.#shell.live) return;
      event.preventDefault();
      this.#shell.ask("choose", { from: 0, to: this.#total }, () => this.#shell.say("all ticked"));
    } else if (row && this.#shell.live) {
      if (/^[0-5]$/.test(event.key) || event.key === "Delete" || event.key === "Backspace") {
        event.preventDefault();
        const value = Number(event.key) || null;
        this.#outbox.send("rate", { features: [row.feature], value });
        this.#shell.say(value === null ? `feature ${row.feature} not rated` : `feature ${row.feature} rated ${value}`);
      } else if (event.key === "n" || event.key === "N") {
        event.preventDefault();
        this.#select(row.feature);
        this.#panel.write();
      }
    }
  }

  /** The table goes to a feature that was selected elsewhere. */
  #reveal(): void {
    const feature = this.#selected;
    this.#ours = this.#shell.synced.get("feature");
    if (feature === null) return;
    const here = this.#rows.features(0, this.#rows.known)?.indexOf(feature) ?? -1;
    if (here >= 0) this.#table.reveal(here);
    else if (this.#shell.live) {
      this.#shell.ask("place", { feature }, (reply) => {
        const row = reply.row as number | null | undefined;
        if (!reply.error && row !== null && row !== undefined && this.#selected === feature) this.#table.reveal(row);
      });
    }
  }

  // --- drawing --------------------------------------------------------------------------------------------------

  #showFrame(): void {
    const frame = this.#frame;
    if (!frame) {
      this.#draw(false);
      return;
    }
    this.#shell.frame(frame, () => {
      const other = frame.result !== this.#result;
      this.#rows.reset(frame.result, frame.rows);
      this.#result = frame.result;
      this.#filters.complain(null);
      this.#draw(other);
    });
  }

  #draw(top: boolean): void {
    const { synced, live } = this.#shell;
    const frame = this.#frame;
    const remarks = synced.get("remarks");
    if (remarks.fresh !== undefined && remarks.fresh !== this.#fresh) {
      this.#fresh = remarks.fresh;
      this.#rows.forget();
    }
    this.#ticked = new Set(synced.get("chosen"));
    const query = this.#query;
    this.#filters.element.hidden = this.#prompt.element.hidden = !live;
    this.#filters.show(query, remarks);
    this.#prompt.show(this.#part(PROMPT), frame?.prompt ?? null, synced.get("attached"));
    const choices = synced.get("choices");
    this.#bar.element.hidden = !frame;
    this.#table.element.hidden = this.#total === 0;
    const selected = this.#selected;
    if (frame) {
      const subset = synced.get("subset").length;
      const shown = synced.get("columns");
      const filtered = Object.keys(query).length > 0;
      this.#bar.show({ total: frame.total, known: this.#rows.known, features: choices.features, subset, ticked: this.#ticked.size, live, filtered, list: query.list ?? "" }, remarks);
      this.#bar.offer(choices, shown);
      this.#columns = columnsOf(choices, ["feature", ...frame.extra, ...shown], this.#saidOf);
      this.#table.update(
        {
          columns: this.#columns,
          total: live ? frame.total : this.#rows.known,
          sort: frame.sort,
          descending: frame.descending,
          row: (i) => this.#rows.at(i),
          stamp: this.#saidOf,
          classOf: ({ feature }) => `${feature === selected ? "ng-sel " : ""}${this.#ticked.has(feature) ? "ng-ticked" : ""}`,
        },
        top,
      );
    }
    const known = selected === null ? null : (remarks.of?.[String(selected)] ?? this.#saidHere(selected));
    this.#panel.show(selected, synced.get("feature"), known, live, synced.get("dashboard") !== null);
    this.#showPage(selected);
    this.#shell.show();
  }

  /** The page of the selected feature, if Python opened one; it follows the selection by itself. */
  #showPage(selected: number | null): void {
    const ref = this.#shell.synced.get("dashboard");
    this.#page.hidden = ref === null || selected === null;
    if (this.#page.dataset.ref === (ref ?? "")) return;
    this.#pageLife?.abort();
    this.#page.replaceChildren();
    this.#page.dataset.ref = ref ?? "";
    if (ref === null) return;
    this.#pageLife = new AbortController();
    void mountRef(this.mounting.host, ref, this.#page, this.#pageLife.signal);
  }

  /** What came with the row of a feature, if it is one of those that are there. */
  #saidHere(feature: number): Said | null {
    const row = this.#rows.at(this.#table.cursor);
    return row?.feature === feature ? row.said : null;
  }
}

interface Change {
  query?: Query;
  sort?: string;
  descending?: boolean;
  subset?: number[];
}
