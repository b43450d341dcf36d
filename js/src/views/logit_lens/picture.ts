/**
 * A frame of the lens as the page uses it. In: the wire form. Out: typed arrays, one number per cell, and how a cell
 * is coloured. Pure; what is malformed throws.
 */
import { decodeFloats, decodeInts } from "../../core/codec.js";
import { shade } from "../../core/colour.js";
import type { Traits, WireLens } from "./synced.js";

export interface Picture {
  wire: Partial<WireLens>;
  sites: string[];
  labels: string[];
  pieces: string[];
  targets: Int32Array;
  top: Int32Array;
  logprobs: Float32Array;
  entropy: Float32Array;
  ranks: Int32Array;
  chances: Float32Array;
  vocabulary: number;
}

/** One cell, in words and numbers. */
export interface Cell {
  site: string;
  label: string;
  token: string; // what the model has read last
  position: number;
  id: number;
  piece: string; // the likeliest next token
  logprob: number;
  entropy: number;
  target: string | null; // null: nothing comes next
  targetId: number;
  rank: number;
  chance: number;
  vocabulary: number;
}

export function readFrame(wire: Partial<WireLens>): Picture | null {
  const { sites, labels, pieces, targets, top, logprobs, entropy, ranks, chances, vocabulary } = wire;
  if (!sites || !labels || !pieces || !targets || !top || !logprobs || !entropy || !ranks || !chances || !vocabulary) return null;
  const picture = {
    wire,
    sites,
    labels,
    pieces,
    targets: decodeInts(targets, "targets"),
    top: decodeInts(top, "top"),
    logprobs: decodeFloats(logprobs, "logprobs"),
    entropy: decodeFloats(entropy, "entropy"),
    ranks: decodeInts(ranks, "ranks"),
    chances: decodeFloats(chances, "chances"),
    vocabulary,
  };
  for (const name of ["top", "logprobs", "entropy", "ranks", "chances"] as const) {
    if (picture[name].length !== sites.length * pieces.length) {
      throw new Error(`${name}: ${picture[name].length} numbers for ${sites.length} sites of ${pieces.length} tokens`);
    }
  }
  return picture;
}

const named = ({ wire }: Picture, id: number): string => wire.names?.[String(id)] ?? `#${id}`;

/** The piece in a cell: the likeliest next token. */
export const pieceAt = (picture: Picture, row: number, i: number): string =>
  named(picture, picture.top[row * picture.pieces.length + i] ?? -1);

/** A cell, or null where the picture has none. */
export function cellAt(picture: Picture | null, row: number, i: number): Cell | null {
  const site = picture?.sites[row];
  const token = picture?.pieces[i];
  if (!picture || site === undefined || token === undefined) return null;
  const k = row * picture.pieces.length + i;
  const targetId = picture.targets[i] ?? -1;
  return {
    site,
    label: picture.labels[row] ?? site,
    token,
    position: i,
    id: picture.top[k] ?? -1,
    piece: pieceAt(picture, row, i),
    logprob: picture.logprobs[k] ?? NaN,
    entropy: picture.entropy[k] ?? NaN,
    target: targetId < 0 ? null : named(picture, targetId),
    targetId,
    rank: picture.ranks[k] ?? 0,
    chance: picture.chances[k] ?? NaN,
    vocabulary: picture.vocabulary,
  };
}

/** The classes of a cell: its colour, and whether its likeliest token is the target. */
export function classOf(picture: Picture, row: number, i: number, by: Traits["colour_by"]): string {
  const k = row * picture.pieces.length + i;
  const rank = picture.ranks[k] ?? 0;
  const { vocabulary } = picture;
  const { name } =
    by === "probability"
      ? shade(Math.exp(picture.logprobs[k] ?? NaN), [0, 1], false)
      : shade(rank > 0 ? Math.log(vocabulary / rank) : NaN, [0, Math.log(vocabulary)], false);
  return `${name ? ` ${name}` : ""}${picture.top[k] === picture.targets[i] ? " ng-hit" : ""}`;
}
