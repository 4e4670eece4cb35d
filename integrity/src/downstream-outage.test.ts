/**
 * A downstream service fails under load in every way a service can: accept, the store and another service notice nothing, and
 * afterwards every event was taken at least once, in order per session, or is a dead letter that can be replayed.
 * INTEGRITY_SEED chooses what the writers send.
 */
import { afterEach, expect, test } from 'bun:test';
import { cleanUpDownstream, compareDownstream, configured, downstreamServer, lettersOf } from './downstream-run.ts';
import type { DownstreamMode } from './downstream-server.ts';
import { readHeld } from './kafka-audit.ts';
import { weir } from './outage-command.ts';
import { startOutageRun, unbalanced } from './outage-run.ts';
import { until } from './until.ts';

const SEED = Number(process.env['INTEGRITY_SEED'] ?? Date.now() % 1_000_000);
const TIMEOUT_MS = 180_000;
const SICK = { eventTypes: ['purchase_completed', 'cart_abandoned'] };
const CALM = { eventTypes: ['cart_abandoned', 'item_added'] };
const BREAKER = { failures: 3, openMs: 50, openMsMax: 500 };
const SETTINGS = { JOURNAL_SEGMENT_BYTES: String(16 << 20) };

const FAILURES: readonly DownstreamMode[] = [
  { kind: 'status', status: 500 },
  { kind: 'status', status: 429, retryAfterSeconds: 1 },
  { kind: 'hang' },
  { kind: 'reset' },
];

afterEach(cleanUpDownstream);

test(
  'errors, asked to wait, silence, resets and nobody there; deliver killed meanwhile; then it refuses some for good',
  async () => {
    const [sick, calm] = [await downstreamServer(), await downstreamServer()];
    const common = { timeoutMs: 2_000, breaker: BREAKER };
    const settings = configured({
      sick: { ...common, ...SICK, url: sick.url, order: 'session', retries: 10_000 },
      calm: { ...common, ...CALM, url: calm.url },
    });
    const run = await startOutageRun({ seed: SEED, settings: { ...SETTINGS, ...settings } });
    run.load();
    const isAway = () => run.sinkIs('http:sick', ({ state, lastError }) => state !== 'healthy' && !!lastError, 'away');
    for (const mode of FAILURES) {
      sick.mode(mode);
      await isAway();
      if (mode.kind === 'hang')
        await run.sinkIs('http:sick', ({ lastError = '' }) => /did not answer within/.test(lastError), 'silent');
      const before = calm.arrivals().length;
      await run.acknowledged(100);
      await until(() => calm.arrivals().length > before, 'the other one goes on');
      sick.mode({ kind: 'ok' });
      await run.acknowledged(50);
    }
    await sick.down();
    await isAway();
    await run.kill('deliver');
    await isAway();
    const { total, balanced } = await run.reconcile();
    expect({ balanced, waits: (total.sinks['http:sick']?.pending ?? 0) > 0 }).toEqual({ balanced: true, waits: true });
    sick.mode({ kind: 'picky', digit: 7 });
    await sick.up();
    await run.acknowledged(100);
    await run.quiet();
    await run.drained();

    const held = await readHeld(run.service.url);
    const letters = await lettersOf(run, 'http:sick');
    expect(letters.length).toBeGreaterThan(0);
    const positions = new Set(letters.map(({ position }) => position));
    const refused = letters.filter(({ code, message }) => !/422/.test(`${code} ${message}`));
    expect({ seed: SEED, refused }).toEqual({ seed: SEED, refused: [] });
    const sickRules = { ...SICK, inOrder: true };
    expect(compareDownstream(held, sick.arrivals(), { ...sickRules, letters: positions })).toEqual([]);
    expect(compareDownstream(held, calm.arrivals(), CALM)).toEqual([]);

    sick.mode({ kind: 'ok' });
    const seen = calm.arrivals().length;
    expect(await weir(run.service.url, 'dlq', 'replay', '--sink', 'http:sick')).toMatchObject({ code: 0 });
    expect(calm.arrivals().length).toBe(seen);
    expect(compareDownstream(held, sick.arrivals(), { ...sickRules, replayed: positions })).toEqual([]);
    const stored = await run.stored();
    const broken = [...run.broken(stored), ...unbalanced(await run.reconcile(), stored), ...(await run.stop(stored))];
    expect({ seed: SEED, broken }).toEqual({ seed: SEED, broken: [] });
  },
  TIMEOUT_MS,
);

test(
  'always 500: after so many attempts each is a dead letter with that reason, and the next one has its turn',
  async () => {
    const sick = await downstreamServer();
    sick.mode({ kind: 'status', status: 500 });
    const breaker = { failures: 1_000, openMs: 10, openMsMax: 10 };
    const settings = configured({ sick: { ...SICK, url: sick.url, retries: 1, breaker } });
    const run = await startOutageRun({ seed: SEED, settings: { ...SETTINGS, ...settings } });
    run.load();
    await run.sinkIs('http:sick', ({ deadLetters = 0 }) => deadLetters > 10, 'giving up');
    sick.mode({ kind: 'ok' });
    await run.acknowledged(100);
    await run.quiet();
    await run.drained();
    const letters = await lettersOf(run, 'http:sick');
    expect(new Set(letters.map(({ code }) => code))).toEqual(new Set(['retries_exhausted']));
    const positions = new Set(letters.map(({ position }) => position));
    const held = await readHeld(run.service.url);
    expect(compareDownstream(held, sick.arrivals(), { ...SICK, letters: positions })).toEqual([]);
    const { total, balanced } = await run.reconcile();
    expect({ balanced, deadLettered: total.sinks['http:sick']?.deadLettered }).toEqual({
      balanced: true,
      deadLettered: letters.length,
    });
  },
  TIMEOUT_MS,
);
