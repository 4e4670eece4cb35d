import { afterEach, expect, test } from 'bun:test';
import type { ClaimVerdict } from '@libs/database/redis';
import type { Journal } from '@libs/journal';
import { newDisk, openOn } from '@libs/journal/testing';
import { createEventModel, DEFAULT_EVENT_LIMITS } from '@libs/models';
import type { Accept, Outcome } from '@libs/pipeline';
import fc from 'fast-check';
import { validEvent } from '../test/valid-event.ts';
import { createAccept } from './accept.ts';
import { type AskedWindow, createClaims } from './claims.ts';

const MODEL = createEventModel({ limits: DEFAULT_EVENT_LIMITS });
const open: Journal[] = [];
afterEach(async () => {
  for (const journal of open.splice(0)) await journal.close().catch(() => false);
});

const COPY = { journalTag: '7', throughSeq: 3 };

/** The window that several processes share, answering when the test lets it. */
function createWindow() {
  const claimed = new Map<string, string>();
  const confirmed = new Set<string>();
  const calls: { owner: string; keys: readonly string[]; answer: () => void }[] = [];
  let isHeld = false;
  let isAway = false;

  function verdictOf(owner: string, key: string): ClaimVerdict {
    if (confirmed.has(key)) return { kind: 'duplicate', copy: COPY };
    const holder = claimed.get(key);
    if (holder !== undefined && holder !== owner) return { kind: 'busy', afterMs: 500 };
    claimed.set(key, owner);
    return { kind: 'claimed' };
  }

  const forOwner = (owner: string): AskedWindow => ({
    claim(keys) {
      const { promise, resolve } = Promise.withResolvers<readonly ClaimVerdict[]>();
      const answer = (): void =>
        resolve(isAway ? keys.map(() => ({ kind: 'skipped' })) : keys.map((key) => verdictOf(owner, key)));
      calls.push({ owner, keys, answer });
      if (!isHeld) answer();
      return promise;
    },
    confirm(keys) {
      for (const key of keys) confirmed.add(key);
    },
    release(keys) {
      for (const key of keys) if (claimed.get(key) === owner && !confirmed.has(key)) claimed.delete(key);
    },
  });

  return {
    forOwner,
    calls,
    claimed,
    confirmed,
    hold: () => {
      isHeld = true;
    },
    letGo: () => {
      isHeld = false;
      for (const { answer } of calls) answer();
    },
    away: (value: boolean) => {
      isAway = value;
    },
  };
}

interface Instance {
  readonly accept: Accept;
  readonly journal: Journal;
  readonly setFreeBytes: (bytes: number) => void;
}

function start(window: AskedWindow, keysMax = 1_000, monotonicMs: () => number = () => performance.now()): Instance {
  const disk = newDisk();
  const { journal } = openOn(disk, {
    limits: { segmentBytes: 1 << 20, bytesMax: 1 << 24, diskReserveBytes: 1, windowMs: 3_600_000, idsMax: 100_000 },
  });
  open.push(journal);
  const stored = { reached: () => Promise.resolve(), levelOf: () => 'journal' as const };
  const claims = createClaims(window, { keysMax, staleMs: 10_000 }, monotonicMs);
  return {
    journal,
    accept: createAccept({ model: MODEL, journal, stored, wallMs: Date.now, claims }),
    setFreeBytes: disk.setFreeBytes,
  };
}

const keyOf = (eventId: string): string => `store-1\0${eventId}`;
const kinds = (outcomes: readonly Outcome[]): string[] => outcomes.map(({ kind }) => kind);
const JOURNAL = { ack: 'journal' } as const;

test('a second instance is told duplicate once the first copy is durable, and retry while it is not', async () => {
  const window = createWindow();
  const one = start(window.forOwner('one'));
  const two = start(window.forOwner('two'));
  window.claimed.set(keyOf('a'), 'one');
  expect(await two.accept([validEvent('a')], JOURNAL)).toEqual([
    { kind: 'retry', code: 'claimed_elsewhere', message: expect.any(String), afterMs: 500 },
  ]);
  expect(kinds(await one.accept([validEvent('a')], JOURNAL))).toEqual(['accepted']);
  expect(await two.accept([validEvent('a')], JOURNAL)).toEqual([
    { kind: 'duplicate', level: 'journal', elsewhere: COPY },
  ]);
});

test('nothing is confirmed before it is durable', async () => {
  const window = createWindow();
  const order: string[] = [];
  const inner = window.forOwner('one');
  const service = start({
    ...inner,
    confirm(keys) {
      order.push(`confirm ${keys.length} durable ${service.journal.durableSeq()}`);
      inner.confirm(keys);
    },
  });
  await service.accept([validEvent('a'), validEvent('b')], JOURNAL);
  expect(order).toEqual(['confirm 2 durable 2']);
});

test('copies of an id that is being asked for wait for the one answer and share what comes of it', async () => {
  const window = createWindow();
  const service = start(window.forOwner('one'));
  window.hold();
  const first = service.accept([validEvent('a'), validEvent('a')], JOURNAL);
  const second = service.accept([validEvent('a')], JOURNAL);
  while (window.calls.length === 0) await Bun.sleep(1);
  const third = service.accept([validEvent('a'), validEvent('b')], JOURNAL);
  window.letGo();
  expect(kinds(await first)).toEqual(['accepted', 'duplicate']);
  expect(kinds(await second)).toEqual(['duplicate']);
  expect(kinds(await third)).toEqual(['duplicate', 'accepted']);
  expect(window.calls.map(({ keys }) => keys)).toEqual([[keyOf('a')], [keyOf('b')]]);
});

test('what one turn of the event loop brings is one question; while it is under way the rest gathers', async () => {
  const window = createWindow();
  const service = start(window.forOwner('one'));
  window.hold();
  const all = Array.from({ length: 5 }, (_, at) => service.accept([validEvent(`a${at}`)], JOURNAL));
  while (window.calls.length === 0) await Bun.sleep(1);
  all.push(...Array.from({ length: 7 }, (_, at) => service.accept([validEvent(`b${at}`)], JOURNAL)));
  window.letGo();
  const outcomes = (await Promise.all(all)).flat();
  expect(window.calls.map(({ keys }) => keys.length)).toEqual([5, 7]);
  expect(outcomes.map((outcome) => outcome.kind === 'accepted' && outcome.seq)).toEqual(
    Array.from({ length: 12 }, (_, at) => at + 1),
  );
});

test('a batch is asked for as a whole, so that a copy of one of its events does not overtake the others', async () => {
  const window = createWindow();
  window.hold();
  const one = start(window.forOwner('one'), 3);
  const answers = ['ab', 'cde', 'd', 'fghi', 'j'].map((batch) =>
    one.accept(
      [...batch].map((eventId) => validEvent(eventId)),
      JOURNAL,
    ),
  );
  while (window.calls.length === 0) await Bun.sleep(1);
  window.letGo();
  expect(
    (await Promise.all(answers)).map((outcomes) => outcomes.map((one) => (one.kind === 'accepted' ? one.seq : 0))),
  ).toEqual([[1, 2], [3, 4, 5], [0], [6, 7, 8, 9], [10]]);
  expect(window.calls.map(({ keys }) => keys.length)).toEqual([2, 3, 4, 1]);
});

test('a window that is away costs the flag and nothing else, and the ids are confirmed all the same', async () => {
  const window = createWindow();
  const service = start(window.forOwner('one'));
  window.away(true);
  expect(await service.accept([validEvent('a')], JOURNAL)).toMatchObject([
    { kind: 'accepted', deduplication: 'local' },
  ]);
  expect(await service.accept([validEvent('a')], JOURNAL)).toEqual([{ kind: 'duplicate', level: 'journal' }]);
  expect(window.confirmed.has(keyOf('a'))).toBe(true);
  window.away(false);
  const [outcome] = await service.accept([validEvent('b')], JOURNAL);
  expect(outcome).not.toHaveProperty('deduplication');
});

test('failOnError: one id that somebody else holds refuses all and gives every claim back', async () => {
  const window = createWindow();
  const service = start(window.forOwner('one'));
  window.claimed.set(keyOf('b'), 'two');
  const outcomes = await service.accept([validEvent('a'), validEvent('b'), validEvent('c')], {
    ack: 'journal',
    atomic: true,
  });
  expect(new Set(outcomes.map((one) => one.kind === 'retry' && one.code))).toEqual(new Set(['claimed_elsewhere']));
  expect(window.claimed.size).toBe(1);
  expect(service.journal.durableSeq()).toBe(0);
});

test('what finds no room gives its claim back', async () => {
  const window = createWindow();
  const service = start(window.forOwner('one'));
  service.setFreeBytes(0);
  while (service.journal.noRoom(1, 1) === undefined) await Bun.sleep(5);
  for (const atomic of [false, true])
    expect(await service.accept([validEvent('a')], { ack: 'journal', atomic })).toMatchObject([
      { kind: 'retry', code: 'journal_full' },
    ]);
  expect(window.claimed.size).toBe(0);
});

test('an answer that comes too late is asked for again before anything is appended', async () => {
  const window = createWindow();
  let nowMs = 0;
  const service = start(window.forOwner('one'), 1_000, () => nowMs);
  window.hold();
  const waiting = service.accept([validEvent('a')], JOURNAL);
  while (window.calls.length === 0) await Bun.sleep(1);
  // The process was frozen: its claim has ended, and another one has taken the event in.
  nowMs = 60_000;
  window.calls[0]?.answer();
  window.confirmed.add(keyOf('a'));
  while (window.calls.length === 1) await Bun.sleep(1);
  window.letGo();
  expect(await waiting).toEqual([{ kind: 'duplicate', level: 'journal', elsewhere: COPY }]);
  expect(service.journal.durableSeq()).toBe(0);
});

test('whatever two instances are sent, each id gets in at one of them only, and in order at each', async () => {
  const step = fc.record({
    at: fc.constantFrom(0, 1),
    ids: fc.array(fc.integer({ min: 0, max: 9 }), { maxLength: 5 }),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 20 }), fc.integer({ min: 1, max: 4 }), async (steps, keysMax) => {
      const window = createWindow();
      const instances = [start(window.forOwner('one'), keysMax), start(window.forOwner('two'), keysMax)];
      const answers = steps.map(({ at, ids }) =>
        (instances[at] as Instance).accept(
          ids.map((id) => validEvent(`e${id}`)),
          JOURNAL,
        ),
      );
      const accepted = new Map<string, number>();
      for (const [index, outcomes] of (await Promise.all(answers)).entries()) {
        for (const [place, outcome] of outcomes.entries()) {
          if (outcome.kind !== 'accepted') continue;
          const id = `e${steps[index]?.ids[place]}`;
          accepted.set(id, (accepted.get(id) ?? 0) + 1);
        }
      }
      for (const times of accepted.values()) expect(times).toBe(1);
      for (const id of new Set(steps.flatMap(({ ids }) => ids))) expect(accepted.get(`e${id}`)).toBe(1);
    }),
    { numRuns: 60 },
  );
});
