import { afterEach, expect, test } from 'bun:test';
import { type Journal, type JournalOptions, listJournals, openJournalReader } from '@libs/journal';
import { newDisk, openOn, type VolatileDisk } from '@libs/journal/testing';
import { createEventModel, DEFAULT_EVENT_LIMITS, type EventModel } from '@libs/models';
import type { Accept, Outcome } from '@libs/pipeline';
import { validEvent } from '../test/valid-event.ts';
import { createAccept } from './accept.ts';
import { createStoredProgress } from './stored-watch.ts';

const MODEL = createEventModel({ limits: DEFAULT_EVENT_LIMITS });
const open: Journal[] = [];
afterEach(async () => {
  for (const journal of open.splice(0)) await journal.close().catch(() => false);
});

const LIMITS = {
  segmentBytes: 1 << 20,
  bytesMax: 1 << 24,
  diskReserveBytes: 0,
  windowMs: 3_600_000,
  idsMax: 1_000_000,
};

interface Service {
  readonly accept: Accept;
  readonly journal: Journal;
  readonly disk: VolatileDisk;
  readonly stored: ReturnType<typeof createStoredProgress>;
  flushes: number;
}

interface StartOptions extends Partial<JournalOptions> {
  readonly ackTimeoutMs?: number;
  readonly model?: EventModel;
}

function start({ ackTimeoutMs = 60_000, model = MODEL, ...options }: StartOptions = {}): Service {
  const disk = newDisk();
  const { journal } = openOn(disk, { limits: LIMITS, ...options });
  open.push(journal);
  const service: Service = { journal, disk, flushes: 0 } as never;
  const stored = createStoredProgress({
    timeoutMs: ackTimeoutMs,
    monotonicMs: () => performance.now(),
    onWait: () => {
      service.flushes += 1;
    },
  });
  return Object.assign(service, { stored, accept: createAccept({ model, journal, stored, wallMs: Date.now }) });
}

function event(eventId: string, more: object = {}): Record<string, unknown> {
  return validEvent(eventId, { data: { n: eventId }, ...more });
}

function rows({ disk, journal }: Service): Record<string, unknown>[] {
  const reader = openJournalReader(disk, listJournals(disk, '/data')[0] as never);
  reader.noteDurable(journal.durableSeq());
  const frames = reader.read(0, { rowsMax: 1e6, bytesMax: 1e9 });
  reader.close();
  return frames.flatMap((frame) =>
    new TextDecoder()
      .decode(frame.payload)
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as Record<string, unknown>),
  );
}

const kinds = (outcomes: readonly Outcome[]): string[] => outcomes.map((outcome) => outcome.kind);

test('an accepted event stands in the journal, durable, with its position, before the answer', async () => {
  const service = start();
  const syncs = service.disk.syncs();
  const [outcome] = await service.accept([event('e1')], { ack: 'journal', origin: { userAgent: 'test' } });
  expect(outcome).toEqual({ kind: 'accepted', journal: service.journal.id, seq: 1, level: 'journal' });
  expect(service.disk.syncs()).toBeGreaterThan(syncs);
  expect(rows(service)).toEqual([
    expect.objectContaining({ ...event('e1'), metadata: { userAgent: 'test' }, journal: service.journal.id, seq: 1 }),
  ]);
});

test('one outcome for each record, in order; bad ones cost the good ones nothing', async () => {
  const service = start();
  const batch = [
    event('a'),
    null,
    event('b', { eventType: 'no_such_type' }),
    event('a'),
    event('c', { extra: 1 }),
    event('d'),
  ];
  const outcomes = await service.accept(batch, { ack: 'journal' });
  expect(kinds(outcomes)).toEqual(['accepted', 'rejected', 'rejected', 'duplicate', 'rejected', 'accepted']);
  expect(outcomes[2]).toMatchObject({ code: 'unknown_event_type', field: 'eventType' });
  expect(outcomes[4]).toMatchObject({ code: 'unknown_field', field: 'extra' });
  // The first copy was still in flight when the second was looked at: its position is known.
  expect(outcomes[3]).toEqual({
    kind: 'duplicate',
    level: 'journal',
    position: { journal: service.journal.id, seq: 1 },
  });
  expect(rows(service).map((row) => row['eventId'])).toEqual(['a', 'd']);
});

test('a duplicate of a durable event carries no position; the same id of another store is no duplicate', async () => {
  const service = start();
  await service.accept([event('a')], { ack: 'journal' });
  const again = await service.accept([event('a', { data: { other: true } }), event('a', { storeId: 'store-2' })], {
    ack: 'journal',
  });
  expect(again[0]).toEqual({ kind: 'duplicate', level: 'journal' });
  expect(kinds(again)).toEqual(['duplicate', 'accepted']);
});

test('atomic: one bad record, and nothing is stored; none, and all stand in one frame', async () => {
  const service = start();
  const refused = await service.accept([event('a'), event('b', { storeId: 7 }), event('c')], {
    ack: 'journal',
    atomic: true,
  });
  expect(kinds(refused)).toEqual(['rejected', 'rejected', 'rejected']);
  expect(refused[0]).toMatchObject({ code: 'batch_rejected' });
  expect(refused[1]).toMatchObject({ code: 'invalid_type', field: 'storeId' });
  expect(service.journal.nextSeq()).toBe(1);
  const commits = service.journal.state().commits;
  const taken = await service.accept([event('a'), event('b'), event('a')], { ack: 'journal', atomic: true });
  expect(kinds(taken)).toEqual(['accepted', 'accepted', 'duplicate']);
  expect(service.journal.state().commits).toBe(commits + 1);
});

test('atomic: a batch that no frame can hold is rejected whole', async () => {
  const service = start();
  const data = { text: 'ü'.repeat(30_000) };
  const batch = Array.from({ length: 8 }, (_, at) => event(`e${at}`, { data }));
  const outcomes = await service.accept(batch, { ack: 'journal', atomic: true });
  expect(new Set(outcomes.map((outcome) => (outcome.kind === 'rejected' ? outcome.code : outcome.kind)))).toEqual(
    new Set(['batch_too_large']),
  );
  expect(service.journal.nextSeq()).toBe(1);
});

test('ack=stored waits for the store and says so; at the time limit the level is what was reached', async () => {
  const service = start({ ackTimeoutMs: 150 });
  const waiting = service.accept([event('a'), event('b')], { ack: 'stored' });
  while (service.flushes === 0) await Bun.sleep(1);
  service.stored.advance(1);
  await Bun.sleep(1);
  expect(service.stored.waiting()).toBe(1);
  service.stored.advance(2);
  expect(await waiting).toMatchObject([{ level: 'stored' }, { level: 'stored' }]);
  expect(await service.accept([event('c')], { ack: 'stored' })).toMatchObject([{ kind: 'accepted', level: 'journal' }]);
  expect(service.stored.waiting()).toBe(0);
});

test('a full journal answers retry and loses nothing; it goes on by itself once there is room', async () => {
  const service = start({
    limits: { ...LIMITS, bytesMax: 3 << 20 },
  });
  const accepted: string[] = [];
  let full: Outcome | undefined;
  for (let at = 0; full === undefined; at++) {
    const [outcome] = await service.accept([event(`e${at}`, { data: { text: 'x'.repeat(40_000) } })], {
      ack: 'journal',
    });
    if (outcome?.kind === 'accepted') accepted.push(`e${at}`);
    else if (outcome?.kind === 'retry' && outcome.code === 'journal_full') full = outcome;
    else await Bun.sleep(1);
  }
  expect(full).toMatchObject({ kind: 'retry', code: 'journal_full' });
  expect(service.journal.state().state).toBe('full');
  // Duplicates need no room, and bad input is still told what is wrong.
  expect(kinds(await service.accept([event('e0'), 7], { ack: 'journal' }))).toEqual(['duplicate', 'rejected']);
  expect(rows(service).map((row) => row['eventId'])).toEqual(accepted);
  service.journal.release(service.journal.id, service.journal.durableSeq());
  while (service.journal.state().state === 'full') await Bun.sleep(1);
  expect(kinds(await service.accept([event('later')], { ack: 'journal' }))).toEqual(['accepted']);
});

test('after a sync that failed every waiting record gets retry, duplicates of it too', async () => {
  const service = start();
  while (service.journal.state().segments < 2) await Bun.sleep(1);
  service.disk.failSyncs();
  const outcomes = await Promise.all([
    service.accept([event('a'), event('b')], { ack: 'journal' }),
    service.accept([event('a')], { ack: 'journal' }),
  ]);
  expect(outcomes.flat().map((outcome) => outcome.kind === 'retry' && outcome.code)).toEqual([
    'journal_failed',
    'journal_failed',
    'journal_failed',
  ]);
  expect(kinds(await service.accept([event('a'), event('c')], { ack: 'journal' }))).toEqual(['retry', 'retry']);
});

test('events of one caller get rising sequence numbers in the order they came', async () => {
  const service = start();
  const answers = await Promise.all(
    Array.from({ length: 200 }, (_, at) => service.accept([event(`e${at}`)], { ack: 'journal' })),
  );
  expect(answers.flat().map((outcome) => (outcome.kind === 'accepted' ? outcome.seq : 0))).toEqual(
    Array.from({ length: 200 }, (_, at) => at + 1),
  );
  expect(service.journal.state().commits).toBeLessThan(50);
});

test('a batch larger than a segment is cut into pieces; what finds no room is told to come back, and gets in then', async () => {
  const failures: Error[] = [];
  const service = start({ onFailed: (error) => failures.push(error) });
  while (service.journal.state().segments < 2) await Bun.sleep(1);
  const batch = Array.from({ length: 1_000 }, (_, at) => event(`e${at}`, { data: { text: `${at}-`.repeat(300) } }));
  const seen = new Set<string>();
  let left = batch;
  for (let round = 0; left.length > 0; round++) {
    expect(round).toBeLessThan(1_000);
    const outcomes = await service.accept(left, { ack: 'journal' });
    for (const { kind } of outcomes) seen.add(kind);
    left = left.filter((_, at) => outcomes[at]?.kind === 'retry');
    await Bun.sleep(1);
  }
  expect([...seen].sort()).toEqual(['accepted', 'retry']);
  expect(failures).toEqual([]);
  expect(service.journal.durableSeq()).toBe(1_000);
  // No frame was written beyond the end of its segment.
  const folder = listJournals(service.disk, '/data')[0]?.folder ?? '';
  for (const name of service.disk.list(folder))
    expect([name, service.disk.size(`${folder}/${name}`)]).toEqual([name, LIMITS.segmentBytes]);
});

test('a batch of a sixth of a segment finds room at once in a journal that has nothing to do', async () => {
  const service = start({ limits: { ...LIMITS, segmentBytes: 4 << 20 } });
  while (service.journal.state().segments < 2) await Bun.sleep(1);
  const batch = Array.from({ length: 1_000 }, (_, at) => event(`e${at}`, { data: { text: 'x'.repeat(500) } }));
  for (let round = 0; round < 3; round++) {
    const outcomes = await service.accept(
      batch.map((one) => ({ ...one, storeId: `store-${round}` })),
      { ack: 'journal' },
    );
    expect(new Set(kinds(outcomes))).toEqual(new Set(['accepted']));
  }
});

test('when a later piece of a batch fails, what stands in an earlier one is accepted all the same', async () => {
  const disk = newDisk();
  let syncs = Number.POSITIVE_INFINITY;
  const service = start({
    // No sync seems to take any time: all stay on the event loop.
    clock: { wallMs: Date.now, monotonicMs: () => 0 },
    disk: {
      ...disk,
      sync(fd) {
        if (--syncs < 0) throw Object.assign(new Error('EIO: sync'), { code: 'EIO' });
        disk.sync(fd);
      },
    },
  });
  while (service.journal.state().segments < 2) await Bun.sleep(1);
  syncs = 1;
  const batch = Array.from({ length: 300 }, (_, at) => event(`e${at}`, { data: { text: 'x'.repeat(1_000) } }));
  const outcomes = await service.accept([...batch, event('e0'), event('e299')], { ack: 'journal' });
  const durable = service.journal.durableSeq();
  expect(durable).toBeGreaterThan(10);
  expect(durable).toBeLessThan(290);
  expect(kinds(outcomes)).toEqual([
    ...Array.from({ length: 300 }, (_, at) => (at < durable ? 'accepted' : 'retry')),
    'duplicate',
    'retry',
  ]);
});

test('a bug in one record fails its batch before anything of it is appended, and the next batch is taken', async () => {
  const broken: EventModel = {
    ...MODEL,
    check(value, origin) {
      if ((value as { eventId?: string }).eventId === 'bug') throw new Error('a bug');
      return MODEL.check(value, origin);
    },
  };
  const service = start({ model: broken });
  await expect(service.accept([event('a'), event('bug'), event('b')], { ack: 'journal' })).rejects.toThrow('a bug');
  expect(kinds(await service.accept([event('a'), event('b')], { ack: 'journal' }))).toEqual(['accepted', 'accepted']);
  expect(rows(service).map((row) => row['eventId'])).toEqual(['a', 'b']);
});

test('atomic: a batch of duplicates needs no room; one that no frame can hold is told so also while there is none', async () => {
  const full = start({ limits: { ...LIMITS, diskReserveBytes: 1 } });
  const batch = [event('a'), event('b')];
  await full.accept(batch, { ack: 'journal' });
  full.disk.setFreeBytes(0);
  while (full.journal.noRoom(1, 1) === undefined) await Bun.sleep(5);
  expect(kinds(await full.accept(batch, { ack: 'journal', atomic: true }))).toEqual(['duplicate', 'duplicate']);
  expect(await full.accept([event('a'), event('c')], { ack: 'journal', atomic: true })).toMatchObject([
    { kind: 'retry', code: 'journal_full' },
    { kind: 'retry', code: 'journal_full' },
  ]);
  const large = Array.from({ length: 8 }, (_, at) => event(`l${at}`, { data: { text: 'x'.repeat(40_000) } }));
  expect(new Set(await full.accept(large, { ack: 'journal', atomic: true }))).toEqual(
    new Set([expect.objectContaining({ kind: 'rejected', code: 'batch_too_large' })]),
  );
});

test('nothing in, nothing out; and after the end everything new is told to come back', async () => {
  const service = start();
  expect(await service.accept([], { ack: 'stored' })).toEqual([]);
  expect(await service.accept([], { ack: 'journal', atomic: true })).toEqual([]);
  await service.accept([event('a')], { ack: 'journal' });
  await service.journal.close();
  for (const atomic of [false, true]) {
    const outcomes = await service.accept([event('b'), event('c')], { ack: 'journal', atomic });
    expect(outcomes).toMatchObject([
      { kind: 'retry', code: 'shutting_down' },
      { kind: 'retry', code: 'shutting_down' },
    ]);
  }
  expect(kinds(await service.accept([event('a')], { ack: 'journal' }))).toEqual(['duplicate']);
});

test('ack=stored: a duplicate of what is durable has the level journal at once, of what is in flight the level reached', async () => {
  const service = start();
  await service.accept([event('a')], { ack: 'journal' });
  expect(await service.accept([event('a')], { ack: 'stored' })).toEqual([{ kind: 'duplicate', level: 'journal' }]);
  expect(service.stored.waiting()).toBe(0);
  const waiting = service.accept([event('b'), event('b')], { ack: 'stored' });
  while (service.stored.waiting() === 0) await Bun.sleep(1);
  service.stored.advance(2);
  expect(await waiting).toMatchObject([
    { kind: 'accepted', level: 'stored', seq: 2 },
    { kind: 'duplicate', level: 'stored', position: { seq: 2 } },
  ]);
});

test('ack=stored: who goes away stops waiting and keeps the level that was reached', async () => {
  const service = start();
  const gone = new AbortController();
  const waiting = service.accept([event('a')], { ack: 'stored', signal: gone.signal });
  while (service.stored.waiting() === 0) await Bun.sleep(1);
  gone.abort();
  expect(await waiting).toMatchObject([{ kind: 'accepted', level: 'journal' }]);
  expect(service.stored.waiting()).toBe(0);
});
