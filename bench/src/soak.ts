/** Half an hour of everything at a moderate rate: does memory stay flat, does anything stay open, is everything stored once. */
import { join } from 'node:path';
import type { Children } from './children.ts';
import { countStored } from './growth-backlog.ts';
import { waitUntilAllStored } from './growth-pairs.ts';
import type { Measured, Part, PartContext } from './part.ts';
import type { SoakJob, SoakResult } from './soak-clients.ts';
import { slopeText, soakSection, soakText } from './soak-report.ts';
import { type SoakSample, sampleOf } from './soak-samples.ts';
import { FLAT_BYTES_PER_MINUTE_MAX, type Slope, slopeOf } from './soak-slope.ts';
import { named } from './summary.ts';
import { startWeir, type Weir } from './weir.ts';

export interface SoakData {
  readonly minutes: number;
  readonly settings: Readonly<Record<string, string>>;
  readonly samples: readonly SoakSample[];
  /** Bytes per minute over the second half, by process. */
  readonly rss: Readonly<Record<string, Slope>>;
  readonly pss: Readonly<Record<string, Slope>>;
  /** Of accept's JavaScript heap. */
  readonly heap: Slope;
  /** With nobody connected, before the clients came and after they went. */
  readonly descriptors: Readonly<Record<string, { readonly before: number; readonly after: number }>>;
  readonly clients: SoakResult;
  readonly stored: number;
  readonly storedDifferent: number;
  readonly isBalanced: boolean;
}

/**
 * A window of an hour would grow for the whole soak, by design. This one turns over twice a minute, and so do
 * segments of this size: what stays flat with it would stay flat with any.
 */
const SETTINGS = { DEDUPE_WINDOW_MS: '30000', JOURNAL_SEGMENT_BYTES: String(8 * 1024 ** 2) };
const SAMPLE_INTERVAL_MS = 5_000;
const SAMPLES_MIN = 20;
/** Files of the engine come and go. */
const DESCRIPTORS_MORE_MAX = 16;
const STOP_TIMEOUT_MS = 90_000;
const RECONCILE_TIMEOUT_MS = 120_000;
const EXTRA_SECONDS = 40;

export const soakPart: Part<SoakData> = {
  name: 'soak',
  what: 'memory and descriptors under a mixed load (see --minutes)',
  set: 'named',
  seconds: ({ minutes }) => 60 * minutes + EXTRA_SECONDS,
  measure: measureSoak,
  text: soakText,
  section: soakSection,
};

async function measureSoak(context: PartContext): Promise<Measured<SoakData>> {
  const { options, children, progress } = context;
  const service = await startWeir(context, { settings: SETTINGS });
  try {
    const before = await sampleOf(service, 0);
    const startMs = performance.now();
    const clients = startClients(service, options.seed, children);
    const samples: SoakSample[] = [];
    const durationMs = options.minutes * 60_000;
    const intervalMs = Math.min(SAMPLE_INTERVAL_MS, durationMs / SAMPLES_MIN);
    for (let at = 1; at * intervalMs <= durationMs; at++) {
      await Promise.race([Bun.sleep(startMs + at * intervalMs - performance.now()), clients.ended]);
      const seconds = (performance.now() - startMs) / 1000;
      samples.push(await sampleOf(service, seconds));
      progress(`soak: ${Math.round(seconds)} of ${Math.round(durationMs / 1000)} s`);
    }
    const result = await clients.stop();
    await waitUntilAllStored(service);
    const after = await sampleOf(service, (performance.now() - startMs) / 1000);
    const [stored, storedDifferent] = await countStored(service);
    const data: SoakData = {
      minutes: options.minutes,
      settings: SETTINGS,
      samples,
      ...slopesOf(samples),
      descriptors: Object.fromEntries(
        Object.entries(before.processes).map(([name, one]) => [
          name,
          { before: one.descriptors, after: after.processes[name]?.descriptors ?? Number.NaN },
        ]),
      ),
      clients: result,
      stored,
      storedDifferent,
      isBalanced: await reconciled(service),
    };
    return { data, problems: problemsOf(data, [before, ...samples, after]) };
  } finally {
    await service.stop();
  }
}

function startClients({ host, port }: Weir, seed: number, children: Children) {
  const job: SoakJob = { host, port, seed };
  const result = Promise.withResolvers<SoakResult>();
  const ended = Promise.withResolvers<never>();
  const child = children.spawn({
    argv: [process.execPath, join(import.meta.dir, 'soak-clients.ts'), JSON.stringify(job)],
    onMessage: (message) => result.resolve(message as SoakResult),
  });
  void child.exited.then((code) => {
    const error = new Error(`the soak's clients ended (${code}): ${child.lastWords()}`);
    ended.reject(error);
    result.reject(error);
  });
  // Whoever waits for them hears of it; once they are to end, nobody does.
  ended.promise.catch(() => undefined);
  result.promise.catch(() => undefined);
  return {
    ended: ended.promise,
    async stop(): Promise<SoakResult> {
      const timer = setTimeout(() => result.reject(new Error("the soak's clients did not end")), STOP_TIMEOUT_MS);
      process.kill(child.pid, 'SIGTERM');
      const counts = await result.promise.finally(() => clearTimeout(timer));
      await child.stop(STOP_TIMEOUT_MS);
      return counts;
    },
  };
}

export function slopesOf(samples: readonly SoakSample[]): Pick<SoakData, 'rss' | 'pss' | 'heap'> {
  const slope = (read: (sample: SoakSample) => number | null | undefined) =>
    slopeOf(
      samples.flatMap((sample) => {
        const value = read(sample);
        return value === null || value === undefined ? [] : [{ seconds: sample.seconds, value }];
      }),
      FLAT_BYTES_PER_MINUTE_MAX,
    );
  const byProcess = (key: 'rssBytes' | 'pssBytes') =>
    Object.fromEntries(
      Object.keys(samples[0]?.processes ?? {}).map((name) => [name, slope(({ processes }) => processes[name]?.[key])]),
    );
  return { rss: byProcess('rssBytes'), pss: byProcess('pssBytes'), heap: slope(({ heapBytes }) => heapBytes) };
}

async function reconciled({ url }: Weir): Promise<boolean> {
  const response = await fetch(`${url}/reconcile`, { signal: AbortSignal.timeout(RECONCILE_TIMEOUT_MS) });
  return ((await response.json()) as { balanced?: boolean }).balanced === true;
}

export function problemsOf(data: SoakData, samples: readonly SoakSample[]): string[] {
  const { clients, stored, storedDifferent, descriptors, rss } = data;
  const { accepted } = clients.answered;
  const problems = named(clients.problems);
  if (clients.unanswered > 0) problems.push(`${clients.unanswered} events were not answered.`);
  if (clients.skipped > 0) problems.push(`${clients.skipped} calls were left out: the service could not keep up.`);
  if (stored < accepted || stored > accepted + clients.unanswered)
    problems.push(`${accepted} events were accepted, but ${stored} are stored.`);
  if (stored !== storedDifferent) problems.push(`${stored - storedDifferent} events are stored more than once.`);
  if (!data.isBalanced) problems.push('Reconciling does not come out even.');
  for (const name of Object.keys(descriptors))
    if (new Set(samples.map(({ processes }) => processes[name]?.pid)).size > 1)
      problems.push(`${name} was replaced meanwhile.`);
  for (const [name, { before, after }] of Object.entries(descriptors))
    if (!(after - before <= DESCRIPTORS_MORE_MAX))
      problems.push(`${name}: ${before} descriptors before, ${after} after.`);
  for (const [name, slope] of Object.entries(rss)) {
    if (slope.verdict === 'grows') problems.push(`${name} grows by ${slopeText(slope)} kB a minute.`);
    if (slope.verdict === 'unclear')
      problems.push(
        `Whether ${name} grows is not clear (${slopeText(slope)} kB a minute): more --minutes would show it.`,
      );
  }
  if (data.heap.verdict === 'grows') problems.push(`The heap of accept grows by ${slopeText(data.heap)} kB a minute.`);
  return problems;
}
