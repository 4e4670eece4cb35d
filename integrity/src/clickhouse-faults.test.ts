/**
 * The ClickHouse server dies at chosen points of an insert, is slow, or does not answer within the time limit, under load. And the proof
 * that the checks can fail: the same with one rule of the store's sink switched off. INTEGRITY_SEED chooses what is sent.
 */
import { afterEach, expect, test } from 'bun:test';
import type { FrontFault, FrontRule } from '@libs/database/testing';
import type { Rewrite } from './fault-source.preload.ts';
import { cleanUpOutage, expectKept, HASTY, LOOKUP, startUnderLoad } from './store-outage.ts';
import { until } from './until.ts';

const SEED = Number(process.env['INTEGRITY_SEED'] ?? Date.now() % 1_000_000);
const TIMEOUT_MS = 180_000;

const SINK = 'libs/database/src/store-sink.ts';
const RESOLVE = 'libs/database/src/store-resolve.ts';
const STORE = 'libs/database/src/store.ts';

afterEach(cleanUpOutage);

test(
  'the server dies before, in and right after an insert, and while it is asked what it has, and our deliver with it',
  async () => {
    const outage = await startUnderLoad({ seed: SEED });
    const faults: readonly FrontRule[][] = [
      [{ fault: 'kill_before' }],
      [{ fault: 'kill_during' }],
      [{ fault: 'kill_after' }],
      [{ fault: 'drop_after' }, { fault: 'kill_before', match: LOOKUP }],
    ];
    for (const [round, rules] of faults.entries()) {
      for (const rule of rules) await outage.store.fault(rule);
      await until(() => outage.store.pid() === undefined, 'the server has died');
      if (round % 2 === 1) await outage.kill('deliver');
      await outage.store.restart();
      await outage.acknowledged();
      await outage.back();
    }
    await expectKept(outage);
  },
  TIMEOUT_MS,
);

test(
  'no answer within the time limit: an insert that never arrives, one that is stored, and one that lands late',
  async () => {
    const outage = await startUnderLoad({ seed: SEED, rewrites: [HASTY] });
    for (const fault of ['hang_before', 'hang_after', 'late_1800'] as const) {
      await outage.store.fault({ fault, times: 2 });
      await outage.served();
      await outage.acknowledged();
    }
    // Longer than the limit, so that the kernel hands over requests that nobody waits for any more.
    await outage.store.freeze();
    await outage.away(/did not answer|[Tt]imeout|given up/);
    await outage.store.thaw();
    await expectKept(outage);
  },
  TIMEOUT_MS,
);

test(
  'every insert is slow: the journal grows, and nothing else',
  async () => {
    // Far less than the writers send, also on a slow machine.
    const outage = await startUnderLoad({ seed: SEED, settings: { BLOCK_ROWS_MAX: '100' } });
    await outage.store.fault({ fault: 'late_700', times: null });
    const before = await outage.pending();
    await until(async () => (await outage.pending()) > before + 2_000, 'the journal grows');
    await outage.acknowledged();
    await outage.store.clearFaults();
    await outage.back();
    await expectKept(outage);
  },
  TIMEOUT_MS,
);

interface Break {
  readonly rewrites: readonly Rewrite[];
  readonly fault: FrontFault;
  readonly noticed: RegExp;
}

const BREAKS: Readonly<Record<string, Break>> = {
  'a block in doubt is sent again under another token': {
    rewrites: [
      { file: SINK, find: 'const isUntouched = !ambiguous && ', replace: 'const isUntouched = !ambiguous || ' },
      {
        file: SINK,
        find: 'chunks: block.chunks, token: block.token, seqs, signal',
        replace: 'chunks: block.chunks, token: block.token + Math.random(), seqs, signal',
      },
    ],
    fault: 'drop_after',
    noticed: /stored more than once/,
  },
  'what the table says is not believed': {
    rewrites: [
      { file: RESOLVE, find: 'return rows.filter((row) => !held.has(row.seq));', replace: 'return [...rows];' },
    ],
    fault: 'drop_after',
    noticed: /stored more than once/,
  },
  'a write that failed counts as done': {
    rewrites: [{ file: SINK, find: '      if (!(error instanceof Overloaded)) throw error;\n', replace: 'return [];' }],
    fault: 'drop_before',
    noticed: /promised and not stored/,
  },
  'an exception at the end of a 200 is not read': {
    rewrites: [{ file: STORE, find: "  if (kind === 'server') throwIfException(body);\n", replace: '' }],
    fault: 'trailer_before',
    noticed: /promised and not stored/,
  },
};

for (const [name, { rewrites, fault, noticed }] of Object.entries(BREAKS))
  test(
    `the checks notice when ${name}`,
    async () => {
      const outage = await startUnderLoad({ seed: SEED, rewrites });
      await outage.store.fault(fault);
      await outage.served();
      await outage.acknowledged();
      const broken = await outage.finish({ recovers: false, drainTimeoutMs: 3_000 });
      expect(broken.join('\n')).toMatch(noticed);
    },
    TIMEOUT_MS,
  );
