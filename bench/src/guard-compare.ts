/** Whether a ratio got worse than a baseline by more than both of them are uncertain. */
import { median } from './samples.ts';

/** CPU per event of one process under one load, divided by the bare server's in the same round. */
export interface GuardFigure {
  readonly median: number;
  /** Standard deviation of a single round. */
  readonly spread: number;
  readonly rounds: number;
}

export type GuardProcess = 'accept' | 'deliver';
export type GuardFigures = Readonly<Record<string, Readonly<Record<GuardProcess, GuardFigure>>>>;

export interface Comparison {
  readonly load: string;
  readonly process: GuardProcess;
  readonly before: number;
  readonly now: number;
  /** 0.1: a tenth more than before. */
  readonly change: number;
  /** A change beyond it, in either direction, is no accident. */
  readonly tolerance: number;
  readonly verdict: 'worse' | 'better' | 'same' | 'too noisy';
}

/** Less is not worth an alarm, however quiet the machine: a build lays out code and memory anew. */
const TOLERANCE_MIN = 0.05;
/** More than this and the comparison could hide what it is there to find. */
const TOLERANCE_MAX = 0.3;
/**
 * Standard errors of the difference. With five rounds on either side, at most seven false alarms in a thousand
 * comparisons, one with ten; hardly any where the spread is under 2 % and TOLERANCE_MIN decides.
 */
const ERRORS = 4;
/** The standard error of a median is that of a mean times sqrt(pi / 2), for values around it as in a normal distribution. */
const MEDIAN_ERROR = Math.sqrt(Math.PI / 2);
/** Median absolute deviation of a normal distribution, inverted. */
const MAD_TO_DEVIATION = 1.4826;

/** The spread is taken from the median absolute deviation, so that one disturbed round does not hide what the others say. */
export function figureOf(ratios: readonly number[]): GuardFigure {
  const middle = median(ratios);
  const deviation = median(ratios.map((value) => Math.abs(value - middle)));
  // Of few values it comes out too small: factor by Croux and Rousseeuw (1992).
  const few = ratios.length / (ratios.length - 0.8);
  return { median: middle, spread: MAD_TO_DEVIATION * few * deviation, rounds: ratios.length };
}

/** As a fraction of the baseline's median. */
export function toleranceOf(before: GuardFigure, now: GuardFigure): number {
  const error = (figure: GuardFigure) => (MEDIAN_ERROR * figure.spread) / Math.sqrt(figure.rounds);
  return Math.max(TOLERANCE_MIN, (ERRORS * Math.hypot(error(before), error(now))) / before.median);
}

/** Every figure of `now`, against the baseline's; a load that the baseline lacks is left out. */
export function compareFigures(baseline: GuardFigures, now: GuardFigures): Comparison[] {
  return Object.entries(now).flatMap(([load, byProcess]) =>
    (Object.entries(byProcess) as [GuardProcess, GuardFigure][]).flatMap(([process, figure]) => {
      const before = baseline[load]?.[process];
      return before === undefined ? [] : [{ load, process, ...compare(before, figure) }];
    }),
  );
}

function compare(before: GuardFigure, now: GuardFigure): Omit<Comparison, 'load' | 'process'> {
  const change = now.median / before.median - 1;
  const tolerance = toleranceOf(before, now);
  return { before: before.median, now: now.median, change, tolerance, verdict: verdictOf(change, tolerance) };
}

function verdictOf(change: number, tolerance: number): Comparison['verdict'] {
  if (change > tolerance) return 'worse';
  // No figure at all is none of these either.
  if (!(tolerance <= TOLERANCE_MAX && Number.isFinite(change))) return 'too noisy';
  return change < -tolerance ? 'better' : 'same';
}
