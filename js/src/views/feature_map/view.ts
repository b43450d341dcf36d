/**
 * The feature map: joins the synced state, this view's own state and the parts of the picture on the common shell. In: the
 * model and the element of a cell. Out: a plane of points with its legend, a search, what is selected, a panel about the
 * feature. All of it works without a kernel, but for writing lists.
 */
import { button, focusable, h, setText } from "../../core/dom.js";
import { count } from "../../core/format.js";
import type { Mounting } from "../../core/mount.js";
import { Shell } from "../../core/shell.js";
import { Chosen } from "./chosen.js";
import { paint } from "./colours.js";
import { legendOf } from "./legend.js";
import { type Category, type Column, type Picture, readFrame, search } from "./picture.js";
import { Plane } from "./plane.js";
import type { Traits } from "./synced.js";
import { createUiState } from "./ui-state.js";
import { noteOf, spoken, titleOf } from "./words.js";

export class MapView {
  readonly #ui = createUiState();
  readonly #shell: Shell<Traits>;
  readonly #plane: Plane;
  readonly #chosen: Chosen;
  readonly #by = focusable(h("select", { class: "ng-map-by", "aria-label": "colour by" }));
  readonly #how = focusable(h("select", { class: "ng-map-how", "aria-label": "map by" }, h("option", { value: "pca" }, "PCA"), h("option", { value: "umap" }, "UMAP")));
  readonly #made: HTMLElement;
  readonly #find = focusable(h("input", { class: "ng-map-find", type: "search", placeholder: "explanation or token", "aria-label": "search: explanation, commonest or raised token", dir: "auto" }));
  readonly #found = h("span", { class: "ng-quiet ng-map-found", role: "status" });
  readonly #take: HTMLButtonElement;
  readonly #lasso: HTMLButtonElement;
  readonly #legend = h("div", { class: "ng-legend ng-map-legend" });
  readonly #about = h("p", { class: "ng-quiet ng-map-about" });
  readonly #progress = h("div", { class: "ng-map-progress", role: "status", hidden: true });
  readonly #told = h("span");
  readonly #detail = h("div", { class: "ng-detail ng-map-detail", hidden: true });
  readonly #tools: HTMLElement;
  #picture: Picture | null = null;

  constructor(mounting: Mounting<Traits>) {
    const shell = (this.#shell = new Shell(mounting, "feature_map", "feature map"));
    this.#plane = new Plane(
      {
        point: (i, anchor, byKey) => this.#point(i, anchor, byKey),
        pick: (i) => this.#pick(i),
        caught: (points) => {
          this.#toggleLasso(false);
          this.#select(points);
        },
        release: () => shell.synced.get("feature") !== "" && this.#write({ feature: "" }),
        moved: () => {
          if (this.#plane.active >= 0 && shell.tip.visible) shell.tip.hide();
        },
      },
      mounting.signal,
    );
    this.#chosen = new Chosen(shell.name, { put: (name) => this.#put(name), clear: () => this.#select([]) });
    this.#how.addEventListener("change", () => this.#write({ method: this.#how.value }));
    this.#made = h("label", { class: "ng-field" }, h("span", { class: "ng-name" }, "map by"), this.#how);
    this.#by.addEventListener("change", () => this.#write({ colour: this.#by.value }));
    this.#find.addEventListener("input", () => this.#search());
    this.#find.addEventListener("keydown", (event) => {
      if (event.key === "Enter") this.#next();
    });
    this.#take = button("select matches", { class: "ng-button", hidden: true }, () => this.#select(this.#ui.hits.filter((i) => i < (this.#picture?.own ?? 0))));
    this.#lasso = button("lasso", { class: "ng-toggle", "aria-pressed": "false", title: "a drag selects; Shift and a drag does so, too" }, () => this.#toggleLasso(!this.#ui.lasso));
    const inView = button("select all in view", { class: "ng-button" }, () => {
      if (this.#picture) this.#select(this.#plane.picker.inBox(this.#plane.camera.box, this.#picture.own));
    });
    const whole = button("show all", { class: "ng-button", title: "0" }, () => this.#plane.reset());
    this.#tools = h(
      "div",
      { class: "ng-map-tools" },
      h("label", { class: "ng-field" }, h("span", { class: "ng-name" }, "colour by"), this.#by),
      this.#made,
      h("span", { class: "ng-field" }, this.#find, this.#take, this.#found),
      h("span", { class: "ng-field ng-map-hands" }, this.#lasso, inView, whole),
    );
    const stop = button("Stop", { class: "ng-button" }, () => shell.ask("stop", {}, () => undefined));
    this.#progress.append(this.#told, stop);
    shell.open(
      mounting.el,
      {
        body: [this.#progress, this.#tools, this.#plane.element, this.#legend, this.#about, this.#chosen.element, this.#detail],
        size: () => this.#picture && count(this.#picture.n, "feature"),
        empty: () => this.#empty(),
        notice: () => this.#notice(),
        themed: () => this.#dress(),
        escape: () => shell.tip.hide(),
      },
      () => this.#showFrame(),
    );
    shell.on(["frame"], () => {
      shell.rpc.alive();
      this.#showFrame();
    });
    shell.on(["colour", "subset"], () => this.#dress());
    shell.on(["feature"], () => this.#showFeature());
    shell.on(["lists"], () => this.#showChosen());
    shell.on(["progress", "attached", "method"], () => {
      this.#showProgress();
      shell.show();
    });
    shell.on(["live"], () => {
      this.#showChosen();
      this.#showProgress();
    });
  }

  #empty(): string | null {
    const { synced, live } = this.#shell;
    if (this.#picture) return this.#picture.drawn ? null : "No direction of this store can be drawn.";
    if (!live) return "There was no map when this page was saved.";
    if (synced.get("progress")) return "The map appears here when it is made.";
    if (synced.get("error")) return "There is no map.";
    return synced.get("attached") ? "No map was made. ng.FeatureMap(store) begins anew." : "No map of this store is kept yet. To make one, attach a model: store.attach(model), then view.attach(store).";
  }

  #notice(): string | null {
    const said = this.#picture ? [this.#picture.wire.notice] : [];
    if (this.#picture && !this.#shell.live) said.push("Without a kernel, nothing can be added to a list.");
    return said.filter(Boolean).join(" ") || null;
  }

  // --- what a person does -----------------------------------------------------------------------------------------

  /** Some hosts report our own change of a trait, some do not: what shows it is called either way. */
  #write(change: Partial<Traits>): void {
    this.#shell.synced.write(change);
    if ("feature" in change) this.#showFeature();
    if ("colour" in change || "subset" in change) this.#dress();
  }

  #select(points: number[]): void {
    this.#chosen.say("");
    this.#write({ subset: points });
    this.#shell.say(`${count(points.length, "feature")} selected`);
  }

  #pick(i: number): void {
    const picture = this.#picture;
    if (!picture) return;
    if (i < picture.own) this.#write({ feature: this.#feature === i ? "" : `${this.#shell.synced.get("base")}${i}` });
    else this.#shell.say(`${titleOf(picture, i)} is of another store and can't be selected`);
  }

  #point(i: number | null, anchor: Element, byKey: boolean): void {
    const picture = this.#picture;
    if (i === null || !picture) {
      this.#shell.tip.hide();
      return;
    }
    this.#shell.tip.show(anchor, noteOf(picture, i, this.#colouring));
    if (byKey) this.#shell.say(spoken(picture, i, this.#colouring));
  }

  #toggleLasso(on: boolean): void {
    this.#ui.lasso = this.#plane.lasso = on;
    this.#lasso.setAttribute("aria-pressed", String(on));
    this.#plane.element.classList.toggle("ng-lasso", on);
  }

  #put(name: string): void {
    const features = [...this.#shell.synced.get("subset")];
    this.#chosen.say("…");
    this.#shell.ask("list", { name, features }, (reply) => {
      this.#chosen.say(reply.error ? `${reply.error.message} ${reply.error.hint ?? ""}` : `added; ${String(reply.name)} has ${count(Number(reply.count), "feature")}`);
    });
  }

  #search(): void {
    const { picture, ui } = { picture: this.#picture, ui: this.#ui };
    ui.query = this.#find.value;
    ui.hits = picture ? search(picture, ui.query) : [];
    ui.at = -1;
    this.#take.hidden = ui.hits.length === 0;
    setText(this.#found, ui.query.trim() === "" ? "" : ui.hits.length ? count(ui.hits.length, "match").replace(/matchs$/, "matches") : "no match");
    this.#plane.mark(this.#feature, ui.hits);
  }

  /** Enter goes from match to match. */
  #next(): void {
    const { hits } = this.#ui;
    if (!hits.length) return;
    this.#ui.at = (this.#ui.at + 1) % hits.length;
    const i = hits[this.#ui.at] ?? -1;
    this.#plane.activate(i, true);
  }

  // --- drawing ----------------------------------------------------------------------------------------------------

  /** The selected feature's index; null: none of this store. */
  get #feature(): number | null {
    const { synced } = this.#shell;
    const [id, base] = [synced.get("feature"), synced.get("base")];
    const rest = base && id.startsWith(base) ? id.slice(base.length) : "";
    return /^\d+$/.test(rest) ? Number(rest) : null;
  }

  get #colouring(): Column | Category | null {
    const key = this.#shell.synced.get("colour");
    const picture = this.#picture;
    return picture?.columns.find((c) => c.key === key) ?? picture?.categories.find((c) => c.key === key) ?? null;
  }

  #showFrame(): void {
    const wire = this.#shell.synced.get("frame");
    this.#shell.frame({}, () => {
      const before = this.#picture;
      this.#picture = readFrame(wire);
      const picture = this.#picture;
      const there = picture !== null && picture.drawn > 0;
      this.#tools.hidden = this.#plane.element.hidden = this.#legend.hidden = this.#about.hidden = !there;
      // a list was written: the map stays where it is
      const moved = before?.n !== picture?.n || (before?.xy.some((v, i) => v !== picture?.xy[i] && !Number.isNaN(v)) ?? false);
      if (moved) this.#plane.show(picture);
      if (picture) {
        const { explained, about } = picture.wire;
        const share = explained.map((s) => `${(100 * s).toFixed(1)}%`);
        setText(this.#about, `${about}${share.length ? `; the axes have ${share.join(" and ")} of the variance` : "; distances between far points mean little"}`);
        const option = ({ key }: { key: string }): Node => h("option", { value: key }, key.replaceAll("_", " "));
        this.#by.replaceChildren(h("optgroup", { label: "numbers" }, ...picture.columns.map(option)), h("optgroup", { label: "groups" }, ...picture.categories.map(option)));
      }
      this.#search();
      this.#showProgress();
      this.#dress();
      this.#showFeature();
    });
  }

  #dress(): void {
    const picture = this.#picture;
    this.#showChosen();
    if (!picture) return;
    const { synced, theme } = this.#shell;
    const by = this.#colouring;
    this.#by.value = synced.get("colour");
    this.#plane.dress(paint(picture, by, theme), new Set(synced.get("subset")));
    this.#legend.replaceChildren(...(by ? legendOf(picture, by, theme, (code) => this.#selectGroup(by, code)) : []));
    if (picture.wire.stores.length > 1) {
      const shapes = ["●", "◆", "■"];
      const names = picture.wire.stores.map(({ name }, k) => `${shapes[k === 0 ? 0 : 1 + ((k - 1) % 2)] ?? ""} ${name}`);
      this.#legend.append(h("span", { class: "ng-map-stores" }, names.join("  ")));
    }
  }

  #selectGroup(by: Column | Category, code: number): void {
    if (!("codes" in by)) return;
    const own = this.#picture?.own ?? 0;
    this.#select([...by.codes.keys()].filter((i) => i < own && by.codes[i] === code));
  }

  #showChosen(): void {
    const { synced, live } = this.#shell;
    this.#chosen.show(synced.get("subset").length, synced.get("lists"), live);
  }

  #showProgress(): void {
    const text = this.#shell.synced.get("progress");
    this.#progress.hidden = text === "" || !this.#shell.live;
    setText(this.#told, text);
    this.#how.value = this.#shell.synced.get("method");
    this.#made.hidden = !this.#shell.live || !this.#shell.synced.get("attached"); // another one needs the model
  }

  #showFeature(): void {
    const picture = this.#picture;
    const i = this.#feature;
    this.#plane.mark(i, this.#ui.hits);
    const there = picture !== null && i !== null && i < picture.own;
    this.#detail.hidden = !there;
    if (!there) return;
    const close = button("×", { class: "ng-icon ng-detail-close", "aria-label": "let go of the feature", title: "let go" }, () => this.#write({ feature: "" }));
    const nowhere = Number.isNaN(picture.xy[2 * i]) ? [h("p", { class: "ng-reason" }, "Its direction is zero or not finite: it is not on the map.")] : [];
    this.#detail.replaceChildren(h("div", { class: "ng-detail-head" }, h("div", {}, ...noteOf(picture, i, this.#colouring), ...nowhere), close));
    this.#plane.reveal(i);
  }
}
