/** RSS once what was done before has settled: the median of some readings. */
import { memoryByProcess, type NamedProcess } from './processes.ts';
import { median } from './samples.ts';

/** Longer than accept keeps freed memory. */
const SETTLE_MS = 12_000;
const READINGS = 9;
const READING_INTERVAL_MS = 200;

/** Of these processes together. */
export async function settledRss(processes: () => readonly NamedProcess[]): Promise<number> {
  await Bun.sleep(SETTLE_MS);
  const readings: number[] = [];
  for (let reading = 0; reading < READINGS; reading++) {
    const memory = Object.values(memoryByProcess(processes()));
    if (memory.length > 0) readings.push(memory.reduce((sum, { rssBytes }) => sum + rssBytes, 0));
    await Bun.sleep(READING_INTERVAL_MS);
  }
  return median(readings);
}
