/**
 * The ClickHouse server answers, and answers badly: errors, resets, half answers, late ones, alone and two at once, under load.
 * INTEGRITY_SEED chooses what the writers send.
 */
import { afterEach, test } from 'bun:test';
import type { FrontFault } from '@libs/database/testing';
import { cleanUpOutage, expectKept, LOOKUP, startUnderLoad } from './store-outage.ts';

const SEED = Number(process.env['INTEGRITY_SEED'] ?? Date.now() % 1_000_000);
const TIMEOUT_MS = 180_000;

afterEach(cleanUpOutage);

test(
  'every insert fails, for one reason after the other: /health names it, accept goes on, and it is over when the reason is',
  async () => {
    const outage = await startUnderLoad({ seed: SEED });
    const reasons: readonly (readonly [FrontFault, RegExp])[] = [
      ['code_241', /241 MEMORY_LIMIT_EXCEEDED/],
      ['code_252', /252 TOO_MANY_PARTS/],
      ['code_999', /999 KEEPER_EXCEPTION/],
      ['code_516', /516 AUTHENTICATION_FAILED/],
      ['trailer_before', /241 MEMORY_LIMIT_EXCEEDED/],
      ['status_500', /answered 500/],
      ['status_429', /answered 429/],
      ['drop_before', /did not answer/],
    ];
    for (const [fault, why] of reasons) {
      await outage.store.fault({ fault, times: null });
      await outage.away(why);
      await outage.acknowledged();
      await outage.store.clearFaults();
      await outage.back();
    }
    await expectKept(outage);
  },
  TIMEOUT_MS,
);

test(
  'inserts are stored and their answers lost, on the way to the block and back, and so are the answers of who asks the table',
  async () => {
    const outage = await startUnderLoad({ seed: SEED });
    for (const fault of ['drop_after', 'trailer_after', 'truncate'] as const) {
      await outage.store.fault({ fault, times: 3 });
      await outage.store.fault({ fault: 'drop_after', match: LOOKUP });
      await outage.store.fault({ fault: 'truncate', match: LOOKUP });
      await outage.store.fault({ fault: 'code_999', match: LOOKUP });
      await outage.acknowledged();
      await outage.served();
    }
    await expectKept(outage);
  },
  TIMEOUT_MS,
);
