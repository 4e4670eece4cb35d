/**
 * Kafka frozen under a steady load: what accept's clients notice (nothing), and how quickly the backlog is gone. By hand, with
 * Weir's own settings and for as long as one likes (60 s at 5,000 events/s when nothing is said; it stops by itself):
 *
 *     npm run services -- install
 *     node_modules/.bin/bun integrity/src/outage-frozen.ts [FREEZE_SECONDS] [EVENTS_PER_SECOND]
 *
 * Prints accept's latency before, during and after, refusals, and the rate at which the backlog was drained beside the live
 * rate; ends with 1 when an event is missing, twice in the store, not on its topic or out of order. Broker, service and
 * clients share the machine: the figures are theirs together.
 */
import { cleanUpKafka, type KafkaRun, print, startKafkaRun } from './kafka-run.ts';
import { startLatencyProbe } from './outage-latency.ts';
import { startPacedLoad } from './outage-load.ts';
import { until } from './until.ts';

export interface FreezeOptions {
  readonly seed: number;
  readonly freezeSeconds: number;
  readonly eventsPerSecond: number;
  readonly settings?: Readonly<Record<string, string>>;
}

export interface FreezeReport {
  /** Broken promises, as sentences; refusals and other 5xx are among them. */
  readonly broken: readonly string[];
  readonly accepted: number;
  /** Events that waited for Kafka when it thawed. */
  readonly backlog: number;
  /** Events per second that reached Kafka while the backlog was drained, and that were accepted meanwhile. */
  readonly drainRate: number;
  readonly liveRate: number;
}

/** What is on its way at any time: less than this is no backlog. */
const CAUGHT_UP_SECONDS = 0.5;
const CATCH_UP_TIMEOUT_MS = 300_000;
const BEFORE_MS = 5_000;

export async function runFreeze(options: FreezeOptions): Promise<FreezeReport> {
  const { seed, freezeSeconds, eventsPerSecond } = options;
  const run = await startKafkaRun({ seed, settings: options.settings ?? {}, rewrites: [] });
  const { url } = run.service;
  const load = startPacedLoad({ url, ledger: run.ledger, random: run.random, eventsPerSecond });
  const probe = startLatencyProbe(url, run.ledger, run.random, 'probe');
  await until(() => load.accepted() > eventsPerSecond, 'the load has begun');
  await run.sinkIs('kafka', ({ state }) => state === 'healthy', 'healthy');
  probe.phase('before');
  await Bun.sleep(Math.min(BEFORE_MS, freezeSeconds * 1_000));

  await run.kafka.freeze();
  probe.phase('during');
  await Bun.sleep(freezeSeconds * 1_000);
  await run.kafka.thaw();
  probe.phase('after');
  const drained = await drain(run, () => load.accepted(), eventsPerSecond * CAUGHT_UP_SECONDS);

  await Promise.all([load.finish(), probe.finish()]);
  const { broken } = await run.finish();
  const seconds = drained.seconds.toFixed(1);
  const [drainRate, liveRate] = [drained.delivered / drained.seconds, drained.arrived / drained.seconds];
  print(`accept, one event: ${probe.report()}`);
  print(
    `${drained.backlog} events behind, caught up in ${seconds} s: ${drainRate.toFixed(0)} events/s drained, ` +
      `${liveRate.toFixed(0)} events/s arriving, ${(drainRate / liveRate).toFixed(1)} times the live rate`,
  );
  const { accepted } = run.ledger.counts();
  return { broken, accepted, backlog: drained.backlog, drainRate, liveRate };
}

async function drain(run: KafkaRun, accepted: () => number, caughtUp: number) {
  const backlog = await pendingOf(run);
  const startMs = performance.now();
  const acceptedBefore = accepted();
  let left = backlog;
  await until(
    async () => {
      left = await pendingOf(run);
      return left < caughtUp;
    },
    () => `Kafka has caught up; ${left} events are left:\n${run.service.output()}`,
    CATCH_UP_TIMEOUT_MS,
  );
  const seconds = (performance.now() - startMs) / 1_000;
  const arrived = accepted() - acceptedBefore;
  return { backlog, seconds, arrived, delivered: backlog - left + arrived };
}

async function pendingOf(run: KafkaRun): Promise<number> {
  const kafka = await run.sinkIs('kafka', ({ pendingEvents }) => pendingEvents !== undefined, 'counted');
  return kafka.pendingEvents ?? 0;
}

async function main(): Promise<void> {
  const [freezeSeconds = 60, eventsPerSecond = 5_000] = process.argv.slice(2).map(Number);
  const seed = Number(process.env['INTEGRITY_SEED'] ?? 1);
  // As the service has them when nothing is set.
  const settings = {
    FLUSH_INTERVAL_MS: '200',
    BLOCK_ROWS_MAX: '20000',
    JOURNAL_SEGMENT_BYTES: String(64 << 20),
    LOG_LEVEL: 'warn',
  };
  print(`Kafka frozen for ${freezeSeconds} s at ${eventsPerSecond} events/s`);
  try {
    const { broken, accepted } = await runFreeze({ seed, freezeSeconds, eventsPerSecond, settings });
    print(`${accepted} accepted; ${broken.length === 0 ? 'nothing is missing' : `BROKEN:\n${broken.join('\n')}`}`);
    process.exitCode = broken.length === 0 ? 0 : 1;
  } finally {
    await cleanUpKafka();
  }
}

if (import.meta.main) await main();
