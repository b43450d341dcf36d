/** What the lab says of scores, authors and tokens, in words. Pure. */
import { compact, withSign } from "../../core/format.js";
import type { Mark } from "./picture.js";
import type { WireJudged, WireScore, WireScored } from "./synced.js";

/** Name and formula of each score. */
export const SCORES: Record<string, readonly [name: string, formula: string]> = {
  correlation: ["correlation", "Pearson’s r of real and simulated activation over all test tokens put together, strong windows and random ones (Bills et al. 2023: top-and-random)"],
  random_only: ["random only", "the same over the random windows alone: harder, since the feature is on at few of their tokens"],
  spearman: ["Spearman", "Pearson’s r of the ranks, equal values sharing their mean rank"],
  r_squared: ["R²", "1 − mean (a − s)² / mean a², uncentred as published; a real, s simulated"],
  absolute_deviation: ["absolute deviation", "1 − mean |a − s| / mean |a|; a real, s simulated"],
  precision: ["precision", "share of the tokens simulated on (above 0) at which the feature is on (the explainability measure of Gao et al. 2024, with patterns)"],
  recall: ["recall", "share of the tokens where the feature is on that are simulated on"],
  ablation: ["ablation", "1 − E[JSD(with the simulation in its place ‖ as it is)] / E[JSD(without the feature ‖ as it is)] of the next token: 1, the model can’t tell; 0, no better than taking the feature away"],
  output: ["output", "texts written with the feature turned up against texts written with other features: share of the pairs in which the explanation gives the former the higher mark (area under the ROC curve); 0.5 is chance"],
  detection: ["detection", "balanced accuracy at telling windows where the feature is on from random ones where it is not, by the largest simulated value; the threshold is set on train windows"],
  fuzzing: ["fuzzing", "balanced accuracy at telling right highlights from wrong ones, by simulated values on the highlighted tokens less those on the others; the threshold is set on train windows"],
};

export const scoreName = (name: string): string => SCORES[name]?.[0] ?? name;

export const interval = ({ low, high }: WireScore): string => (low === null || high === null ? "" : `${compact(low, 2)} to ${compact(high, 2)}`);

/** "0.545", or why there is none. */
export const scored = ({ score, why }: WireScored): string => (score?.value === null || score?.value === undefined ? why : compact(score.value));

export const gainOf = (gain: number | null): string => (gain === null ? "" : withSign(gain, 2));

/** A text that was typed has no author until it is in the store. */
export const by = (author: string): string => author || "you";

export const markWords = (mark: Mark, edge: string): string =>
  ({
    "": "",
    miss: `miss: real ${edge} or more, simulated less`,
    alarm: `false alarm: simulated ${edge} or more, real less`,
  })[mark];

/** The first line, and how many follow. */
export function brief(text: string): string {
  const lines = text.split("\n").filter((line) => line.trim());
  return lines.length > 1 ? `${lines[0] ?? ""}  + ${lines.length - 1} more` : (lines[0] ?? "");
}

/** What was said of a window in detection or fuzzing: a word, why, and whether it was right. */
export function verdictWords(task: string, { truth, answer, marked, why }: WireJudged["verdicts"][number]): { text: string; title: string } {
  const asked = marked === null ? `the feature is ${truth ? "on" : "off"} here` : `${marked} tokens were highlighted, ${truth ? "the right ones" : "wrong ones"}`;
  if (answer === null) return { text: `${task} failed`, title: why };
  return { text: `${task} ${answer === truth ? "right" : "wrong"}`, title: `${task}: ${asked}; the answer was ${answer ? "yes" : "no"}` };
}
