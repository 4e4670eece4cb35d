import { afterEach, expect, test } from 'bun:test';
import { type Journal, type JournalOptions, listJournals, openJournal, openJournalReader } from '@libs/journal';
import { createVolatileDisk, type VolatileDisk } from '@libs/journal/testing';
import { createEventModel, DEFAULT_EVENT_LIMITS } from '@libs/models';
import type { Accept, Outcome } from '@libs/pipeline';
import { createAccept } from './accept.ts';
import { createStoredProgress } from './stored-watch.ts';

const open: Journal[] = [];
afterEach(async () => {
  for (const journal of open.splice(0)) await journal.close().catch(() => false);
});

interface Service {
  readonly accept: Accept;
  readonly journal: Journal;
  readonly disk: VolatileDisk;
  readonly stored: ReturnType<typeof createStoredProgress>;
  flushes: number;
}

function start(options: Partial<JournalOptions> & { ackTimeoutMs?: number } = {}): Service {
  const disk = createVolatileDisk();
  disk.makeFolder('/data');
  const journal = openJournal({
    disk,
    dataFolder: '/data',
    worker: 0,
    workers: 1,
    limits: { segmentBytes: 1 << 20, bytesMax: 1 << 24, diskReserveBytes: 0, windowMs: 3_600_000, idsMax: 1_000_000 },
    log: () => undefined,
    onDurable: () => undefined,
    onFailed: () => undefined,
    ...options,
  });
  open.push(journal);
  const model = createEventModel({ limits: DEFAULT_EVENT_LIMITS });
  const service: Service = { journal, disk, flushes: 0 } as never;
  const stored = createStoredProgress({
    timeoutMs: options.ackTimeoutMs ?? 60_000,
    monotonicMs: () => performance.now(),
    onWait: () => {
      service.flushes += 1;
    },
  });
  return Object.assign(service, { stored, accept: createAccept({ model, journal, stored, wallMs: Date.now }) });
}

function event(eventId: string, more: object = {}): Record<string, unknown> {
  return {
    eventId,
    eventType: 'item_added',
    timestamp: '2026-01-02T03:04:05.678Z',
    sessionId: 'session-1',
    storeId: 'store-1',
    data: { n: eventId },
    ...more,
  };
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
    limits: { segmentBytes: 1 << 20, bytesMax: 3 << 20, diskReserveBytes: 0, windowMs: 3_600_000, idsMax: 1_000_000 },
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
