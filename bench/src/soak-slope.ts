/** Whether a series of readings grows: its slope over the second half, and how sure that is. */

export interface Slope {
  /** Per minute, in the unit of the readings. */
  readonly perMinute: number;
  /** Half of the 95 % confidence interval. */
  readonly uncertainty: number;
  /** `unclear`: neither growth nor its absence can be told from so few readings. */
  readonly verdict: 'flat' | 'grows' | 'unclear';
}

export interface Reading {
  readonly seconds: number;
  readonly value: number;
}

/**
 * Neighbouring readings of memory are alike (a heap grows until it is collected): their number says too little about how
 * sure a slope is. Means of blocks that are longer than such waves are nearly independent, and the line is laid
 * through them.
 */
const BLOCKS = 8;
/** 97.5 % quantile of Student's distribution with BLOCKS - 2 degrees of freedom. */
const STUDENT = 2.447;

/** Slower growth than this is called flat: 1.4 GiB a day. */
export const FLAT_BYTES_PER_MINUTE_MAX = 1024 ** 2;

/** Growth of less than `perMinuteMax` is called flat. Readings are in order of time. */
export function slopeOf(readings: readonly Reading[], perMinuteMax: number): Slope {
  const half = ((readings[0]?.seconds ?? 0) + (readings.at(-1)?.seconds ?? 0)) / 2;
  const points = blockMeans(readings.filter(({ seconds }) => seconds >= half));
  if (points.length < BLOCKS) return { perMinute: Number.NaN, uncertainty: Number.NaN, verdict: 'unclear' };
  const meanX = meanOf(points.map(({ seconds }) => seconds));
  const meanY = meanOf(points.map(({ value }) => value));
  const squares = sumOf(points.map(({ seconds }) => (seconds - meanX) ** 2));
  const slope = sumOf(points.map(({ seconds, value }) => (seconds - meanX) * (value - meanY))) / squares;
  const residuals = sumOf(points.map(({ seconds, value }) => (value - meanY - slope * (seconds - meanX)) ** 2));
  const error = Math.sqrt(residuals / (BLOCKS - 2) / squares);
  const perMinute = 60 * slope;
  const uncertainty = 60 * STUDENT * error;
  return { perMinute, uncertainty, verdict: verdictOf(perMinute, uncertainty, perMinuteMax) };
}

function verdictOf(perMinute: number, uncertainty: number, perMinuteMax: number): Slope['verdict'] {
  if (perMinute + uncertainty <= perMinuteMax) return 'flat';
  return perMinute - uncertainty > 0 ? 'grows' : 'unclear';
}

/** Blocks of as many readings each, as far as they go; none when there are too few. */
function blockMeans(readings: readonly Reading[]): Reading[] {
  const size = Math.floor(readings.length / BLOCKS);
  if (size === 0) return [];
  const kept = readings.slice(readings.length - size * BLOCKS);
  return Array.from({ length: BLOCKS }, (_, at) => {
    const block = kept.slice(at * size, (at + 1) * size);
    return { seconds: meanOf(block.map(({ seconds }) => seconds)), value: meanOf(block.map(({ value }) => value)) };
  });
}

const sumOf = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0);
const meanOf = (values: readonly number[]) => sumOf(values) / values.length;
