/** What most tests of delivery start from: one journal, one table, and a file for the state. */
import { expect } from 'bun:test';
import { join } from 'node:path';
import { Retryable } from '@libs/pipeline';
import { createFakeJournal, type FakeJournal } from './fake-journal.ts';
import { createFakeStore, type FakeStore } from './fake-store.ts';
import { type Process, startProcess, withFolder } from './harness.ts';

export const ROWS = [
  { storeId: 'north', eventType: 'item_added' },
  { storeId: 'south', eventType: 'cart_created' },
  { storeId: 'north', eventType: 'item_added' },
];

export interface Setup {
  readonly file: string;
  readonly journal: FakeJournal;
  readonly store: FakeStore;
  start(options?: Partial<Parameters<typeof startProcess>[0]>): Process;
}

export function withSetup(run: (setup: Setup) => Promise<void>): Promise<void> {
  return withFolder((folder) => {
    const file = join(folder, 'state.sqlite');
    const journal = createFakeJournal('j1');
    const store = createFakeStore();
    const start: Setup['start'] = (options = {}) =>
      startProcess({ file, sinks: [store.sink()], readers: [journal.reader()], ...options });
    return run({ file, journal, store, start });
  });
}

/** Every row of the journal stands in the table once. */
export function expectOnce(store: FakeStore, journal: FakeJournal): void {
  const expected = Array.from({ length: journal.lastSeq() }, (_, index) => [`${journal.id}:${index + 1}`, 1] as const);
  expect(new Map([...store.rows].filter(([key]) => key.startsWith(`${journal.id}:`)))).toEqual(new Map(expected));
}

/** Nothing was stored. */
export const clean = new Retryable('connection_refused', 'nobody listens');
/** Who knows. */
export const unclear = new Retryable('connection_lost', 'it broke off', { ambiguous: true });
