import { expect, test } from 'bun:test';
import type { Confirmation } from '@libs/database/redis';
import { journalTag } from '@libs/pipeline';
import { createOtherJournals, SILENCE_MS } from './other-journals.ts';
import { exchangeProgress } from './progress-exchange.ts';
import { createStoredProgress } from './stored-watch.ts';

const NEAR = '0190a1b2-0000-7000-8000-00000000aaaa';
const FAR = '0190a1b2-0000-7000-8000-00000000bbbb';

/** A bus in the hands of a test: what is published stays where it is. */
function createBus() {
  const published: Confirmation[] = [];
  const heardMs = new Map<string, number>();
  let isConnected = true;
  let listener: (confirmation: Confirmation) => void = () => undefined;
  return {
    published,
    publish: (confirmation: Confirmation) => void published.push(confirmation),
    subscribe(one: typeof listener) {
      listener = one;
      return () => undefined;
    },
    lastHeardMs: (journal: string) => heardMs.get(journal),
    health: () => ({ isConnected, published: 0, failed: 0, received: 0, malformed: 0 }),
    say: (journal: string, sink: string, throughSeq: number) => listener({ journal, sink, throughSeq }),
    signOfLife: (journal: string, atMs: number) => void heardMs.set(journal, atMs),
    connect: (value: boolean) => {
      isConnected = value;
    },
  };
}

function start({ withBus = true, leftovers = [] as string[] } = {}) {
  const bus = createBus();
  let nowMs = 1_000_000;
  const others = createOtherJournals({
    otherSinks: ['kafka'],
    monotonicMs: () => nowMs,
    bus: withBus ? bus : undefined,
  });
  const stored = createStoredProgress({
    otherSinks: ['kafka'],
    timeoutMs: 1_000,
    monotonicMs: () => nowMs,
    onWait: () => undefined,
  });
  const journal = {
    id: '0190a1b2-0000-7000-8000-00000000c0de',
    leftovers: () => leftovers.map((one) => ({ journal: one, lastSeq: 100 })),
  };
  exchangeProgress({ bus, journal, stored, others });
  const seqs = (of: string) => [others.seq(journalTag(of), 'stored'), others.seq(journalTag(of), 'routed')];
  return { bus, others, stored, journal, seqs, now: () => nowMs, pass: (ms: number) => (nowMs += ms) };
}

test('a journal of the same folder is known from deliver, one of another instance from what that tells', () => {
  const { bus, others, seqs } = start();
  expect(seqs(NEAR)).toEqual([0, 0]);
  others.advance(NEAR, 'store', 5);
  others.advance(NEAR, 'kafka', 3);
  expect(seqs(NEAR)).toEqual([5, 3]);
  bus.say(FAR, 'stored', 8);
  expect(seqs(FAR)).toEqual([8, 0]);
  bus.say(FAR, 'routed', 6);
  bus.say(FAR, 'stored', 7);
  bus.say(FAR, 'kafka', 900);
  expect(seqs(FAR)).toEqual([8, 6]);
  // Both may speak of one journal: whoever knows more is right.
  bus.say(NEAR, 'routed', 4);
  bus.say(NEAR, 'stored', 4);
  expect(seqs(NEAR)).toEqual([5, 4]);
  expect(others.seq('', 'stored')).toBe(0);
});

test('listeners hear which journal has grown, and only then', () => {
  const { bus, others } = start();
  const heard: string[] = [];
  others.onAdvance((journal) => heard.push(journal));
  bus.say(FAR, 'stored', 8);
  bus.say(FAR, 'stored', 8);
  others.advance(NEAR, 'kafka', 3);
  others.advance(NEAR, 'store', 3);
  others.advance(NEAR, 'store', 3);
  expect(heard).toEqual([FAR, NEAR]);
});

test('we tell of our own journal and of those that we look after, and never of anybody else', () => {
  const { bus, others, stored, journal } = start({ leftovers: [NEAR] });
  stored.advance(4);
  stored.advance(2, 'kafka');
  others.advance(NEAR, 'kafka', 9);
  others.advance(NEAR, 'store', 9);
  others.advance(FAR, 'kafka', 7);
  others.advance(FAR, 'store', 7);
  expect(bus.published).toEqual([
    { journal: journal.id, sink: 'stored', throughSeq: 4 },
    { journal: journal.id, sink: 'stored', throughSeq: 4 },
    { journal: journal.id, sink: 'routed', throughSeq: 2 },
    { journal: NEAR, sink: 'stored', throughSeq: 9 },
    { journal: NEAR, sink: 'routed', throughSeq: 9 },
  ]);
  // Our own words come back to us, too.
  bus.say(journal.id, 'stored', 1_000);
  expect(stored.seq('stored')).toBe(4);
  expect(others.seq(journalTag(journal.id), 'stored')).toBe(0);
});

test('silence: counted from the last sign of life, the beginning of the wait, and the time we could hear', () => {
  const { bus, others, now, pass } = start();
  const since = now();
  const tag = journalTag(FAR);
  expect(others.isSilent(tag, since)).toBe(false);
  pass(SILENCE_MS - 1);
  expect(others.isSilent(tag, since)).toBe(false);
  bus.say(FAR, 'stored', 1);
  bus.signOfLife(FAR, now());
  pass(SILENCE_MS - 1);
  expect(others.isSilent(tag, since)).toBe(false);
  // Redis is away: nobody can say anything, so nobody is silent.
  bus.connect(false);
  pass(10 * SILENCE_MS);
  expect(others.isSilent(tag, since)).toBe(false);
  bus.connect(true);
  pass(SILENCE_MS - 1);
  expect(others.isSilent(tag, since)).toBe(false);
  pass(1);
  expect(others.isSilent(tag, since)).toBe(true);
  // Who begins to wait now gives it another chance.
  expect(others.isSilent(tag, now())).toBe(false);
});

test('a journal of which nothing was ever heard is silent; one of our own folder never is', () => {
  const { others, now, pass } = start();
  const since = now();
  others.advance(NEAR, 'store', 1);
  pass(SILENCE_MS);
  expect(others.isSilent('', since)).toBe(true);
  expect(others.isSilent(journalTag(FAR), since)).toBe(true);
  expect(others.isSilent(journalTag(NEAR), since)).toBe(false);
  const alone = start({ withBus: false });
  alone.pass(SILENCE_MS);
  expect(alone.others.isSilent(journalTag(NEAR), 0)).toBe(false);
});
