/**
 * What is known about one token of a row, as text and elements; the tooltip and the detail panel say the same things in
 * the same words. In: a row and a position. Out: nodes, labels, reasons. Token text only ever enters as text nodes.
 */
import { h } from "../../core/dom.js";
import { type Fact, facts, ranking as table } from "../../core/facts.js";
import { compact, percent, quoted } from "../../core/format.js";
import type { Row, Sequence } from "../../core/picture.js";

const MASKS = [
  [1, "beginning of sequence"],
  [2, "special token"],
  [4, "massive activation"],
] as const;

export const LOGPROB = "natural logarithm of the model's probability of this token, given the tokens before it";

export const pieceText = (row: Row, i: number): string => quoted(row.seq.pieces[i] ?? "");

/** The value with "≈" where it was quantised on its way. */
export function valueText(row: Row, i: number): string {
  const value = row.values.at(i);
  return (row.values.approximate && !Number.isNaN(value) ? "≈ " : "") + compact(value);
}

/** Why the token looks the way it does, in words. */
export function reasons(row: Row, i: number): string[] {
  const said: string[] = [];
  const bits = row.seq.masked?.[i] ?? 0;
  for (const [bit, what] of MASKS) if (bits & bit) said.push(`${what}: not counted in the colour scale`);
  if (Number.isNaN(row.values.at(i))) said.push("no value here (NaN): hatched, not zero");
  if (row.shadeAt(i).clipped) said.push("beyond the colour scale: drawn in its last colour");
  if (row.seq.kinds[i] === 1) said.push("shown as raw bytes or escaped characters: not text of its own");
  return said;
}

/** "−2.31 nats · 9.9%", or null where it is not known. */
export function logprobText(seq: Sequence, i: number): string | null {
  const logprob = seq.logprobs?.[i];
  return logprob === undefined || Number.isNaN(logprob) ? null : `${compact(logprob)} nats · ${percent(logprob)}`;
}

/** Name and value pairs about the token itself, its value first. */
export function factList(row: Row, i: number, more: readonly Fact[] = []): HTMLElement {
  const { seq } = row;
  const id = seq.ids?.[i];
  const logprob = logprobText(seq, i);
  const pairs: Fact[] = [
    ["value", valueText(row, i), row.values.approximate ? "quantised to 1 of 255 steps on its way; select the token for the exact value" : ""],
    ...more,
    ["position", String(i), "counted from 0"],
  ];
  if (id !== undefined) pairs.push(["token id", String(id)]);
  if (logprob) pairs.push(["log-probability", logprob, LOGPROB]);
  return facts(pairs);
}

export const reasonList = (row: Row, i: number): HTMLElement[] =>
  reasons(row, i).map((reason) => h("p", { class: "ng-reason" }, reason));

/**
 * The five likeliest tokens of the distribution at `at`, as a small table with bars. Where `actual` (a position) is
 * given, the token that really stood there is marked, and added below when it is not among the five.
 */
export function ranking(caption: string, seq: Sequence, at: number, actual: number | null): HTMLElement | null {
  const { top } = seq;
  if (!top || at < 0 || at >= seq.pieces.length) return null;
  const actualId = actual === null ? undefined : seq.ids?.[actual];
  const lines = Array.from({ length: top.width }, (_, k) => {
    const id = top.ids[at * top.width + k] ?? -1;
    return { id, piece: top.pieces[String(id)] ?? `#${id}`, logprob: top.logprobs[at * top.width + k] ?? NaN };
  }).filter(({ logprob }) => !Number.isNaN(logprob));
  if (lines.length === 0) return null;
  const logprob = actual === null ? undefined : seq.logprobs?.[actual];
  if (actual !== null && actualId !== undefined && logprob !== undefined && !lines.some(({ id }) => id === actualId)) {
    lines.push({ id: actualId, piece: seq.pieces[actual] ?? "", logprob });
  }
  return table(caption, lines, actualId, "◂ actual", "the token that really stands there");
}

/** The content of the tooltip. */
export function tipOf(row: Row, i: number): Node[] {
  const expected = ranking("expected here", row.seq, i - 1, i);
  return [
    h("strong", { class: "ng-piece", dir: "auto" }, pieceText(row, i)),
    h("div", { class: "ng-tip-label" }, row.label),
    factList(row, i),
    ...reasonList(row, i),
    ...(expected ? [expected] : []),
  ];
}

/** The same in one sentence, for screen readers. */
export function spoken(row: Row, i: number): string {
  const logprob = logprobText(row.seq, i);
  return `${pieceText(row, i)}, ${row.label}: ${valueText(row, i)}${logprob ? `, log-probability ${logprob}` : ""}`;
}
