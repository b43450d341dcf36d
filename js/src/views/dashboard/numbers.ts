/**
 * The numbers of a page: statistics, logits, and lists of what goes with the feature. In: a page. Out: elements; `go`
 * turns to another feature of the store.
 */
import { button, h } from "../../core/dom.js";
import { type Fact, facts } from "../../core/facts.js";
import { compact, quoted, withSign } from "../../core/format.js";
import type { WirePage } from "./synced.js";

const say = (value: number | null, digits = 3): string => (value === null ? "–" : compact(value, digits));

/** A share as per cent, as finely as it needs: "0.0131%". */
export const shareOf = (value: number | null, digits = 3): string => (value === null ? "–" : `${compact(100 * value, digits)}%`);

export function statistics(page: WirePage): HTMLElement {
  const { stats, n_tokens: n } = page;
  const tokens = n.toLocaleString("en-US");
  const on = stats.count > 0;
  const list: Fact[] = [
    ["density", shareOf(stats.density), `share of the ${tokens} measured tokens where its value is above zero`],
    ["tokens", stats.count.toLocaleString("en-US"), "how many those are"],
    ["largest", say(stats.max), "largest value over the corpus"],
    ...(stats.min !== null && stats.min < 0 ? ([["smallest", say(stats.min), "smallest value over the corpus"]] as Fact[]) : []),
    ["mean", say(stats.mean), "mean value over all measured tokens, E[a]"],
    ["kurtosis", say(stats.kurtosis), "E[a⁴]/E[a²]², about zero: large where it is on seldom and strongly"],
    ["skew", say(stats.skew), "E[a³]/E[a²]^1.5, about zero"],
    ["mostly at", on && page.top_token !== null ? `${quoted(page.top_token)} ${shareOf(stats.single_token_share, 2)}` : "–", "the token it is on at most often, and that token's share of all tokens where it is on"],
    ["norm", say(stats.norm), "‖direction‖₂: what one unit of it writes"],
    ...(stats.not_finite ? ([["not finite", stats.not_finite.toLocaleString("en-US"), "tokens where its value is NaN or infinite; they count nowhere else"]] as Fact[]) : []),
  ];
  return h("div", { class: "ng-stats" }, facts(list));
}

/** A small table: a caption that says what its numbers are, and rows. */
function table(caption: string, title: string, heads: readonly [string, string][], rows: readonly (readonly (Node | string)[])[], none: string): HTMLElement {
  const body = rows.length
    ? rows.map((cells) => h("tr", {}, ...cells.map((cell, k) => h(k === 0 ? "th" : "td", { scope: k === 0 ? "row" : null, class: k === 0 ? "ng-first" : "ng-num" }, cell))))
    : [h("tr", {}, h("td", { class: "ng-quiet", colspan: heads.length }, none))];
  return h(
    "table",
    { class: "ng-list" },
    h("caption", { title }, caption),
    h("thead", {}, h("tr", {}, ...heads.map(([name, what], k) => h("th", { scope: "col", class: k === 0 ? "ng-first" : "ng-num", title: what || null }, name)))),
    h("tbody", {}, ...body),
  );
}

const piece = (text: string): HTMLElement => h("span", { class: "ng-piece", dir: "auto", title: quoted(text) }, quoted(text));

/** Tokens that it raises and lowers, each list with bars to its own largest. */
export function logitLists(page: WirePage): HTMLElement {
  const list = (name: string, rows: WirePage["promoted"], sign: string): HTMLElement => {
    const most = Math.max(1e-9, ...(rows ?? []).map(([, by]) => Math.abs(by ?? 0)));
    const lines = (rows ?? []).map(([text, by]) => {
      const bar = h("span", { class: `ng-bar ng-bar-${sign}`, "aria-hidden": "true" });
      bar.style.width = `${(100 * Math.abs(by ?? 0)) / most}%`;
      return h("tr", {}, h("th", { scope: "row", class: "ng-first" }, piece(text)), h("td", { class: "ng-track" }, bar), h("td", { class: "ng-num" }, by === null ? "–" : withSign(by)));
    });
    const title = "logits that one unit of the feature adds along the direct path, at final-norm scale 1; tokens that are no text of their own are left out";
    return h("table", { class: "ng-list" }, h("caption", { title }, name), h("tbody", {}, ...lines));
  };
  if (!page.promoted) return h("p", { class: "ng-quiet" }, "It does not write to the residual stream directly: no logits.");
  return h("div", { class: "ng-logits" }, list("raises", page.promoted, "up"), list("lowers", page.suppressed, "down"));
}

export interface Related {
  attached: boolean;
  turns: boolean; // other features can be turned to
  go: (feature: number) => void;
}

export function related(page: WirePage, { attached, turns, go }: Related): HTMLElement[] {
  const link = (feature: number): Node => (turns ? button(String(feature), { class: "ng-go", title: `go to feature ${feature}` }, () => go(feature)) : h("span", {}, String(feature)));
  const lists = [
    table("on at these tokens", "the tokens it is on at, most often first", [["token", ""], ["share", "of all tokens where the feature is on"], ["on", "share of this token's occurrences where the feature is on"], ["mean", "mean value there"]],
      page.tokens.map(([text, , share, on, mean]) => [piece(text), shareOf(share, 2), shareOf(on, 2), say(mean)]), "none"),
    table("on together with", "features that are on at the same tokens, most often first", [["feature", ""], ["share", "of this feature's tokens"], ["φ", "Pearson correlation of being on"]],
      page.coactive.map(([other, share, phi]) => [link(other), shareOf(share, 2), say(phi, 2)]), "none"),
  ];
  if (page.neurons) {
    lists.push(table("correlated neurons", "neurons of the same layer whose values go with its value over the corpus", [["neuron", ""], ["Pearson", ""], ["cosine", "of the values, not centred"]],
      page.neurons.map(([neuron, pearson, cosine]) => [String(neuron), say(pearson, 2), say(cosine, 2)]), "none"));
  }
  if (page.alignment) {
    lists.push(table("neuron alignment", "largest coordinates of its direction: is it a single neuron?", [["coordinate", ""], ["value", ""], ["share", "of ‖direction‖₁"]],
      page.alignment.map(([at, value, share]) => [String(at), say(value, 2), shareOf(share, 2)]), "none"));
  }
  if (page.neighbours) {
    lists.push(table("nearest directions", "features of the same basis by cosine of their directions", [["feature", ""], ["cosine", ""]],
      page.neighbours.map(([feature, cosine]) => [link(feature), say(cosine, 3)]), "none"));
  }
  if (!attached) lists.push(h("p", { class: "ng-quiet ng-attach" }, "Alignment, nearest directions, logit histogram: attach a model: view.attach(store.attach(model))."));
  return lists;
}

export function matches(rows: readonly [string, number, number | null, number | null][]): HTMLElement {
  return table("in other stores", "the feature of another store whose values go with it most, over 20,000 tokens", [["store / feature", ""], ["Pearson", ""], ["cosine", "of the values, not centred"]],
    rows.map(([store, feature, pearson, cosine]) => [feature < 0 ? `${store}: never on` : `${store} / ${feature}`, say(pearson, 2), say(cosine, 2)]), "none");
}
