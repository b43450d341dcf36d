/**
 * A slider as data: what Python calls a Setting, what is known of its feature, and how far the slider reaches. Pure.
 */
import { compact } from "./format.js";

export type Unit = "raw" | "max" | "std" | "norm";
export type Positions = string | number | number[] | { from: number; to: number | null };

export interface Slider {
  feature: string; // its id
  mode: string;
  value: number | null; // null: what was typed is no number
  unit: Unit;
  positions: Positions;
  skip_special: boolean;
  layers: number[] | null;
  on: boolean;
}

export interface About {
  id: string;
  label: string;
  what: string;
  modes: string[];
  units: Partial<Record<Unit, number | null>>; // raw units in one of each; null: not known yet
  source?: string;
  fires?: string[];
}

/** A feature that was found, and the slider that it would get. */
export interface Found extends About {
  why: string;
  slider: Slider;
}

export interface SliderChoices {
  modes?: Record<string, string>; // mode -> formula
  units?: Record<Unit, string>;
  bases?: { name: string; size: number }[];
  layers?: number;
  store?: string;
  chat?: boolean;
}

export const UNITS: readonly Unit[] = ["norm", "max", "std", "raw"];
export const SHORT: Record<Unit, string> = { raw: "raw", max: "× max", std: "× std", norm: "× ‖h‖" };

/** v is a pure number in these modes. */
export const isFactor = (mode: string): boolean => mode === "scale" || mode === "orthogonal";
export const hasStrength = (mode: string): boolean => mode !== "ablate";
/** The value that changes nothing. */
export const neutral = (mode: string): number => (isFactor(mode) ? 1 : 0);

/** A number with one leading digit of 1, 2 or 5, at least as large. */
function roundUp(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value));
  return power * ([1, 2, 5, 10].find((digit) => digit * power >= value * (1 - 1e-9)) ?? 10);
}

/** From where to where a slider goes, and its steps; wide enough for the value that it has. */
export function spanOf({ mode, unit, value }: Slider, about: About | undefined): { min: number; max: number; step: number } {
  const norm = about?.units.norm;
  const usual = isFactor(mode)
    ? 4
    : { norm: 1.5, max: 3, std: 20, raw: norm ? roundUp(1.5 * norm) : roundUp(3 * (about?.units.max ?? 4)) }[unit];
  const reach = Math.max(usual, roundUp(Math.max(Math.abs(value ?? 0), 1e-9)) * (Math.abs(value ?? 0) > usual ? 1 : 0));
  const min = mode === "cap" ? 0 : isFactor(mode) && (value ?? 0) >= -2 ? -2 : -reach;
  return { min, max: reach, step: roundUp(reach / 200) };
}

/** The same strength in another unit; null where that is not known. */
export function convert(value: number, from: Unit, to: Unit, about: About | undefined): number | null {
  if (from === to) return value;
  const [a, b] = [about?.units[from], about?.units[to]];
  return a && b ? (value * a) / b : null;
}

/** "0.54 × ‖h‖ · 3.2 × max · …" and what is missing. */
export function inAllUnits({ mode, unit, value }: Slider, about: About | undefined): { unit: Unit; text: string; known: boolean }[] {
  if (value === null || isFactor(mode) || !hasStrength(mode)) return [];
  return UNITS.filter((other) => about && other in about.units).map((other) => {
    const there = convert(value, unit, other, about);
    return { unit: other, known: there !== null, text: there === null ? SHORT[other] : `${compact(there)} ${SHORT[other]}` };
  });
}

const MOST = 32; // strengths of a sweep

/** Strengths as a person types them, "0.5, 1, 2"; none: the kernel chooses them. A text: what is wrong with them. */
export function readStrengths(text: string): number[] | string {
  const parts = text.replace(/[−–]/g, "-").split(/[\s,;]+/).filter(Boolean);
  const wrong = parts.find((part) => !Number.isFinite(Number(part)));
  if (wrong !== undefined) return `“${wrong}” is no number. Write strengths such as 0.5, 1, 2, 4, or leave the field empty.`;
  const values = [...new Set(parts.map(Number))];
  return values.length > MOST ? `These are ${values.length} strengths; a sweep takes ${MOST} at most.` : values;
}
