/**
 * The readout panel: what the steering does to one pair of texts, as numbers with their formulas. In: events and a sample.
 * Out: a table of facts that keeps its place while they grow.
 */
import { h } from "../../core/dom.js";
import { compact, percent, quoted, withSign } from "../../core/format.js";
import { distinct2, mean, textOf } from "./texts.js";
import type { WireEvent } from "./wire.js";

export type Fact = readonly [name: string, value: string, formula: string];
const say = (value: number | null | undefined, digits = 3): string => (value === null || value === undefined || Number.isNaN(value) ? "–" : compact(value, digits));
const given = (value: number | null | undefined): number => value ?? NaN;
const share = (value: number): string => (Number.isNaN(value) ? "–" : `${compact(100 * value, 2)}%`);
const READER = "the mean over the steered text as the untouched model reads it → over the base text";

export function summary(events: readonly WireEvent[], sample: number, tokens: readonly string[], label: (feature: string) => string): Fact[] {
  const s = sample;
  const [base, steered] = [textOf(events, s, "base"), textOf(events, s, "steered")];
  const last = events.at(-1);
  const written = events.filter((e) => (e.steered.ids[s] ?? -1) >= 0).at(-1);
  const facts: Fact[] = [];
  const all = (pick: (e: WireEvent) => object): string[] => [...new Set(events.flatMap((e) => Object.keys(pick(e))))];
  for (const site of all((e) => e.change)) {
    facts.push([`‖Δ‖/‖h‖ at ${site}`, say(mean(events.map((e) => given(e.change[site]?.[s])))), "mean over the steered tokens: how far the edits move the vector, against its own length"]);
  }
  facts.push(
    ["KL(base‖steered)", `${say(mean(events.map((e) => given(e.kl[s]))))} nats`, "mean over the tokens of Σ p·ln(p/q): p the untouched model, q the steered one, both after the steered text"],
    ["perplexity", `${say(written?.perplexity[s])} · base ${say(Math.exp(-mean(events.map((e) => given(e.base.logprobs[s])))))}`, "exp of the mean surprise of the text under the untouched model: steered text · base text"],
    ["repetition", `${share(1 - distinct2(steered.ids))} · base ${share(1 - distinct2(base.ids))}`, "1 − distinct-2: share of pairs of neighbouring tokens that had come before; steered text · base text"],
  );
  for (const id of all((e) => e.active)) {
    const of = (row: number): number => mean(events.slice(1).map((e) => given(e.active[id]?.[row]?.[s])));
    facts.push([`activation of ${label(id)}`, `${say(of(2))} · base ${say(of(0))}`, READER]);
  }
  tokens.forEach((token, k) => {
    const at = written ?? last;
    const [plain, there] = [at?.chosen[0]?.[s]?.[k], at?.chosen[1]?.[s]?.[k]];
    const [before, now] = [at?.chosen_ranks[0]?.[s]?.[k], at?.chosen_ranks[1]?.[s]?.[k]];
    const change = withSign(given(there) - given(plain));
    facts.push([`${quoted(token)} next`, `Δ ln p ${change} · rank ${before ?? "–"} → ${now ?? "–"}`, "in place of the newest token: change of its log-probability, and its rank, untouched → steered"]);
  });
  return facts;
}

/** What is known of one token. */
export function factsAt(events: readonly WireEvent[], sample: number, side: "base" | "steered", i: number, readout: Fact | null): Fact[] {
  const e = events[i];
  const s = sample;
  if (!e) return [];
  const own = given(e[side].logprobs[s]);
  const facts: Fact[] = readout ? [readout] : [];
  facts.push(["probability", `${percent(own)} (ln ${say(own)})`, "under the model that wrote it"]);
  if (side === "steered") {
    const plain = given(e.plain[s]);
    facts.push(
      ["untouched model", `${percent(plain)} (Δ ln p ${withSign(own - plain)})`, "probability of the same token under the untouched model after the same text"],
      ["rank", `${e.ranks[0][s] ?? "–"} → ${e.ranks[1][s] ?? "–"}`, "untouched → steered"],
      ["KL(base‖steered)", `${say(e.kl[s])} nats`, ""],
    );
  }
  facts.push(["token id", String(e[side].ids[s] ?? "–"), ""]);
  return facts;
}

export const factList = (facts: readonly Fact[]): HTMLElement =>
  h("dl", { class: "ng-facts" }, ...facts.flatMap(([name, value, title]) => [h("dt", { title: title || null }, name), h("dd", {}, value)]));
