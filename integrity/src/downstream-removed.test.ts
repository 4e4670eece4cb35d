/**
 * Downstream services that nobody waits for: one that was taken out of the configuration, and one that is not required.
 * INTEGRITY_SEED chooses what the writers send.
 */
import { afterEach, expect, test } from 'bun:test';
import { cleanUpDownstream, compareDownstream, configured, downstreamServer, lettersOf } from './downstream-run.ts';
import { createEventMaker } from './events.ts';
import { createHttpClient } from './http-client.ts';
import { readHeld } from './kafka-audit.ts';
import { weir } from './outage-command.ts';
import { type OutageRun, startOutageRun } from './outage-run.ts';
import { pendingEvents } from './scenario.ts';
import { until } from './until.ts';
import { ROOMY_SEGMENT_BYTES } from './writers.ts';

const SEED = Number(process.env['INTEGRITY_SEED'] ?? Date.now() % 1_000_000);
const TIMEOUT_MS = 180_000;
const TYPES = { eventTypes: ['purchase_completed'] };
const BREAKER = { failures: 3, openMs: 50, openMsMax: 500 };
const SEGMENT_BYTES = 1 << 20;
const JOURNAL_BYTES_MAX = 6 * SEGMENT_BYTES;
const BATCH_EVENTS = 200;

afterEach(cleanUpDownstream);

/** Sends batches of large events, about 8 MB or more in all, each of which must be accepted in the end. */
function sender(run: OutageRun) {
  const client = createHttpClient(run.service.url, run.ledger);
  const maker = createEventMaker(run.random, 'sent', 'sent');
  return {
    /** The code of the first refusal, if there was one. */
    async send(batches: number): Promise<string | undefined> {
      for (let n = 0; n < batches; n++) {
        const events = Array.from({ length: BATCH_EVENTS }, () => maker.large(2_000));
        const answers = await client.batch(events, 'lines');
        const refused = answers.find((answer) => answer?.kind === 'retry' && answer.code === 'journal_full');
        if (refused?.kind === 'retry') return refused.code;
      }
      return undefined;
    },
  };
}

test(
  'taken out of the configuration: reported, dropped by command, and then the journal is released',
  async () => {
    const gone = await downstreamServer();
    await gone.down();
    const before = configured({ gone: { ...TYPES, url: gone.url, breaker: BREAKER } });
    const limits = {
      JOURNAL_SEGMENT_BYTES: String(SEGMENT_BYTES),
      JOURNAL_BYTES_MAX: String(JOURNAL_BYTES_MAX),
    };
    const run = await startOutageRun({ seed: SEED, settings: { ...limits, ...before } });
    const { service } = run;
    const { send } = sender(run);
    await send(3);
    await run.sinkIs('http:gone', ({ pendingEvents: count = 0 }) => count > 0, 'behind');
    expect(await service.stop()).toBe(0);

    service.set(configured({}));
    await service.start();
    const found = await run.sinkIs('http:gone', ({ removed }) => removed, 'removed');
    expect(found.pendingEvents).toBeGreaterThan(0);
    expect(service.output()).toMatch(/http:gone/);
    const listed = await weir(service.url, 'sink', 'list');
    expect(listed).toMatchObject({ code: 0, out: expect.stringMatching(/http:gone +removed/) });
    // It holds the journal until somebody decides.
    await until(async () => (await send(1)) === 'journal_full', 'the journal is full');

    const dropped = await weir(service.url, 'sink', 'drop', 'http:gone');
    expect(dropped.code).toBe(0);
    await until(async () => (await pendingEvents(service.url)) === 0, 'the journal is released');
    // Twice what the journal may hold.
    await until(async () => (await send(1)) === undefined, 'events are taken again');
    for (let n = 0; n < (2 * JOURNAL_BYTES_MAX) / (BATCH_EVENTS * 2_000); n++) {
      expect(await send(1)).toBeUndefined();
      await until(async () => (await pendingEvents(service.url)) < BATCH_EVENTS, 'delivered');
    }
    expect((await run.sinks()).map(({ name }) => name)).toEqual(['store']);
    await run.drained();
    expect((await run.reconcile()).balanced).toBe(true);
    expect(await service.stop()).toBe(0);
  },
  TIMEOUT_MS,
);

test(
  'not required and away: its backlog is parked, the journal does not wait, and a replay takes it from the store',
  async () => {
    const optional = await downstreamServer();
    await optional.down();
    const options = { ...TYPES, url: optional.url, breaker: BREAKER, required: false, backlogEventsMax: 1_000 };
    const run = await startOutageRun({
      seed: SEED,
      settings: { JOURNAL_SEGMENT_BYTES: String(ROOMY_SEGMENT_BYTES), ...configured({ optional: options }) },
    });
    run.load();
    await run.acknowledged(3_000);
    await run.sinkIs('http:optional', ({ deadLetters = 0 }) => deadLetters > 0, 'parked');
    await run.acknowledged(1_000);
    await run.kill('deliver');
    await run.quiet();
    const parked = (await lettersOf(run, 'http:optional')).filter(({ kind }) => kind === 'range');
    expect(parked.length).toBeGreaterThan(0);
    const { balanced, total } = await run.reconcile();
    expect({ balanced, parked: (total.sinks['http:optional']?.deadLettered ?? 0) > 0 }).toEqual({
      balanced: true,
      parked: true,
    });
    await optional.up();
    await run.drained();
    expect(await weir(run.service.url, 'dlq', 'replay', '--sink', 'http:optional')).toMatchObject({ code: 0 });
    expect(await lettersOf(run, 'http:optional')).toEqual([]);
    const held = await readHeld(run.service.url);
    expect(compareDownstream(held, optional.arrivals(), TYPES)).toEqual([]);
    const stored = await run.stored();
    const broken = [...run.broken(stored), ...(await run.stop(stored))];
    expect({ seed: SEED, broken }).toEqual({ seed: SEED, broken: [] });
  },
  TIMEOUT_MS,
);
