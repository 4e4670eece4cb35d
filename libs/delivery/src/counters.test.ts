import type { Database } from 'bun:sqlite';
import { expect, test } from 'bun:test';
import { join } from 'node:path';
import fc from 'fast-check';
import { withFolder } from '../test/harness.ts';
import { type Counters, type CountRow, createCounters, type MinuteCount } from './counters.ts';
import { openStateDatabase } from './state-database.ts';

const DAY = 1_440;
const ALL = { fromMinute: 0, untilMinute: Number.MAX_SAFE_INTEGER, rowsMax: 1_000_000 };

function withCounters(rowsMax: number, run: (counters: Counters, db: Database) => void): Promise<void> {
  return withFolder((folder) => {
    const db = openStateDatabase(join(folder, 'state.sqlite'));
    run(createCounters(db, { rowsMax }), db);
    db.close();
  });
}

function add(counters: Counters, ...counts: readonly MinuteCount[]): void {
  counters.noteAdded(counters.add('j', counts), counts);
}

function rollUpAll(counters: Counters): void {
  while (counters.rollUp(7) > 0);
}

const short = (rows: readonly CountRow[]) =>
  rows.map(({ spanMinutes, startMinute, storeId, count }) => [spanMinutes, startMinute, storeId, count]);

const minute = (at: number, storeId = 's', count = 1): MinuteCount => ({ minute: at, storeId, eventType: 't', count });

test('minutes become hours after two days, hours days after two months, days one row after two years', () =>
  withCounters(1_000_000, (counters) => {
    const now = 1_000 * DAY;
    add(counters, minute(now, 's', 1), minute(now, 's', 1));
    add(counters, minute(now - 2 * DAY + 1, 's', 2));
    add(
      counters,
      minute(now - 3 * DAY, 's', 3),
      minute(now - 3 * DAY + 59, 's', 4),
      minute(now - 3 * DAY + 60, 's', 5),
    );
    add(counters, minute(now - 70 * DAY + 5, 's', 6), minute(now - 70 * DAY + 700, 's', 7));
    add(counters, minute(5, 's', 8), minute(DAY, 'other', 9));
    rollUpAll(counters);
    expect(short(counters.list(ALL))).toEqual([
      [0, 0, '', 17],
      [1_440, now - 70 * DAY, 's', 13],
      [60, now - 3 * DAY, 's', 7],
      [60, now - 3 * DAY + 60, 's', 5],
      [1, now - 2 * DAY + 1, 's', 2],
      [1, now, 's', 2],
    ]);
    expect(counters.total()).toBe(46);
  }));

test('a call folds no more rows than it is told', () =>
  withCounters(1_000_000, (counters) => {
    add(counters, ...Array.from({ length: 25 }, (_, at) => minute(at)), minute(10 * DAY));
    expect([counters.rollUp(10), counters.rollUp(10), counters.rollUp(10), counters.rollUp(10)]).toEqual([
      10, 10, 5, 0,
    ]);
    expect(short(counters.list(ALL))).toEqual([
      [60, 0, 's', 25],
      [1, 10 * DAY, 's', 1],
    ]);
  }));

test('made-up stores cannot fill the disk, and no event goes uncounted', () =>
  withCounters(100, (counters) => {
    let made = 0;
    for (let at = 0; at < 50; at++) {
      add(counters, ...Array.from({ length: 20 }, () => minute(at, `made-up-${made++}`)));
      add(counters, minute(at, 'made-up-1'));
      counters.rollUp(1_000);
    }
    const rows = counters.list(ALL);
    expect(rows.length).toBeLessThanOrEqual(100 + 50);
    expect(rows.some(({ storeId }) => storeId === '')).toBe(true);
    expect(counters.total()).toBe(50 * 21);
    add(counters, minute(5 * DAY));
    rollUpAll(counters);
    add(counters, minute(200 * DAY));
    rollUpAll(counters);
    expect(short(counters.list(ALL)).slice(-1)).toEqual([[1, 200 * DAY, 's', 1]]);
    expect(counters.list(ALL).length).toBeLessThanOrEqual(103);
    expect(counters.total()).toBe(50 * 21 + 2);
  }));

test('whatever is counted and folded in whatever order, the sum stays exact, also for a second opening', () =>
  withFolder((folder) => {
    const count = fc.record({
      minute: fc.oneof(fc.nat(3 * DAY), fc.nat(900 * DAY)),
      storeId: fc.constantFrom('a', 'b', 'c', 'd'),
      eventType: fc.constantFrom('t', 'u'),
      count: fc.integer({ min: 1, max: 1_000 }),
    });
    const step = fc.oneof(fc.array(count, { maxLength: 10 }), fc.integer({ min: 1, max: 20 }), fc.constant('reopen'));
    let run = 0;
    fc.assert(
      fc.property(fc.array(step, { maxLength: 15 }), (steps) => {
        const db = openStateDatabase(join(folder, `${run++}.sqlite`));
        db.run('PRAGMA synchronous = OFF');
        let counters = createCounters(db, { rowsMax: 30 });
        const sums = { t: 0, u: 0 };
        for (const next of steps) {
          if (next === 'reopen') counters = createCounters(db, { rowsMax: 30 });
          else if (typeof next === 'number') counters.rollUp(next);
          else if (Array.isArray(next)) {
            add(counters, ...next);
            for (const { eventType, count: n } of next) sums[eventType as 't' | 'u'] += n;
          }
        }
        const sumOf = (type: string): number =>
          counters.list(ALL).reduce((sum, row) => sum + (row.eventType === type ? row.count : 0), 0);
        expect({ t: sumOf('t'), u: sumOf('u') }).toEqual(sums);
        expect(counters.total()).toBe(sums.t + sums.u);
        db.close();
      }),
      { numRuns: 60 },
    );
  }));
