/**
 * What is known about one cell, as text and elements; tooltip, detail panel and screen reader say the same things in
 * the same words. In: a cell. Out: nodes.
 */
import { h } from "../../core/dom.js";
import { ENTROPY, type Fact, facts } from "../../core/facts.js";
import { compact, percent, quoted } from "../../core/format.js";
import type { Cell } from "./picture.js";

const PROBABILITY = "of the likeliest next token, if the model stopped here: softmax of final norm and unembedding";
const RANK = "1: no token is likelier; of equally likely ones all have the best rank";

const where = ({ site, token }: Cell): string => `${site} · after ${quoted(token)}`;
const rankText = ({ rank, vocabulary }: Cell): string => `${rank.toLocaleString("en-US")} of ${vocabulary.toLocaleString("en-US")}`;

export function factsOf(cell: Cell): HTMLElement {
  const pairs: Fact[] = [
    ["probability", percent(cell.logprob), PROBABILITY],
    ["entropy", `${compact(cell.entropy)} nats`, ENTROPY],
    ["position", String(cell.position), "of the token above, counted from 0"],
  ];
  if (cell.target === null) pairs.push(["target", "nothing comes next"]);
  else {
    pairs.push(
      ["target", h("span", { class: "ng-piece", dir: "auto" }, quoted(cell.target))],
      ["its rank", rankText(cell), RANK],
      ["its probability", percent(cell.chance), `${compact(cell.chance)} nats`],
    );
  }
  return facts(pairs);
}

export const heading = (cell: Cell): [piece: HTMLElement, place: string] => [
  h("strong", { class: "ng-piece", dir: "auto" }, quoted(cell.piece)),
  where(cell),
];

export function tipOf(cell: Cell): Node[] {
  const [piece, place] = heading(cell);
  return [piece, h("div", { class: "ng-tip-label" }, place), factsOf(cell)];
}

export function spoken(cell: Cell): string {
  const target = cell.target === null ? "" : `; target ${quoted(cell.target)} has rank ${rankText(cell)}`;
  return `${where(cell)}: ${quoted(cell.piece)}, ${percent(cell.logprob)}${target}`;
}
