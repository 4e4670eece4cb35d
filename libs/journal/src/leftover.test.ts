import { afterEach, expect, test } from 'bun:test';
import { retireJournal } from './doctor.ts';
import { type Journal, openJournal } from './journal.ts';
import { listJournals, openJournalReader } from './reader.ts';
import { createVolatileDisk, type VolatileDisk } from './testing/index.ts';

const WINDOW_MS = 60_000;
const open: Journal[] = [];
afterEach(async () => {
  for (const journal of open.splice(0)) await journal.close();
});

function start(disk: VolatileDisk, clock = { wallMs: Date.now, monotonicMs: () => performance.now() }): Journal {
  const journal = openJournal({
    disk,
    dataFolder: '/data',
    worker: 0,
    workers: 1,
    limits: { segmentBytes: 64 * 1024, bytesMax: 1 << 22, diskReserveBytes: 0, windowMs: WINDOW_MS, idsMax: 1_000_000 },
    log: () => undefined,
    onDurable: () => undefined,
    onFailed: () => undefined,
    clock,
  });
  open.push(journal);
  return journal;
}

async function append(journal: Journal, key: string): Promise<void> {
  const id = new Uint32Array(4);
  journal.hash(key, id);
  const seq = journal.claim(id);
  expect(await journal.append(`{"key":"${key}","seq":${seq}}\n`, 1)).toBe(true);
}

function wasSeen(journal: Journal, key: string): boolean {
  const id = new Uint32Array(4);
  journal.hash(key, id);
  return journal.wasSeen(id);
}

function seenIn(journal: Journal, key: string): ReturnType<Journal['seenIn']> {
  const id = new Uint32Array(4);
  journal.hash(key, id);
  return journal.seenIn(id);
}

test('a retired journal is read to its end, its ids still count, and then its folder goes', async () => {
  let disk = createVolatileDisk();
  disk.makeFolder('/data');
  const first = start(disk);
  for (const key of ['a', 'b', 'c']) await append(first, key);
  await first.close();
  const [folder] = listJournals(disk, '/data');
  retireJournal(disk, folder as never, '/data/journals');
  disk = disk.processCrash();

  let skewMs = 0;
  const second = start(disk, { wallMs: Date.now, monotonicMs: () => performance.now() + skewMs });
  expect(second.id).not.toBe(first.id);
  expect(second.leftovers()).toEqual([{ journal: first.id, lastSeq: 3 }]);
  expect([wasSeen(second, 'a'), wasSeen(second, 'c'), wasSeen(second, 'd')]).toEqual([true, true, false]);
  expect([seenIn(second, 'c'), seenIn(second, 'd')]).toEqual([{ journal: first.id, lastSeq: 3 }, undefined]);
  await append(second, 'd');

  const retired = listJournals(disk, '/data').find((one) => one.journal === first.id);
  expect(retired?.worker).toBeUndefined();
  const reader = openJournalReader(disk, retired as never);
  reader.noteDurable(3);
  expect(reader.read(0, { rowsMax: 10, bytesMax: 1e6 }).map((frame) => frame.lastSeq)).toEqual([1, 2, 3]);
  reader.close();

  // Delivered, but still in the window: it stays. Out of the window, but not delivered: it stays too.
  second.release(first.id, 3);
  await Bun.sleep(1_100);
  expect(second.leftovers()).toHaveLength(1);
  skewMs = 2 * WINDOW_MS;
  while (second.leftovers().length > 0) await Bun.sleep(20);
  expect(listJournals(disk, '/data').map((one) => one.journal)).toEqual([second.id]);
  expect(wasSeen(second, 'a')).toBe(false);
});

test('a removal that is interrupted leaves no journal behind, and the next start finishes it', async () => {
  let disk = createVolatileDisk();
  disk.makeFolder('/data');
  const first = start(disk);
  await append(first, 'a');
  await first.close();
  retireJournal(disk, listJournals(disk, '/data')[0] as never, '/data/journals');
  disk = disk.processCrash();
  let skewMs = 0;
  const interrupted = {
    ...disk,
    removeFolderAsync(path: string) {
      disk.remove(`${path}/000000000001.segment`);
      return Promise.reject(Object.assign(new Error('EIO'), { code: 'EIO' }));
    },
  } as VolatileDisk;
  const second = start(interrupted, { wallMs: Date.now, monotonicMs: () => performance.now() + skewMs });
  second.release(first.id, 1);
  skewMs = 2 * WINDOW_MS;
  while (second.leftovers().length > 0) await Bun.sleep(20);
  expect(listJournals(disk, '/data').map((one) => one.journal)).toEqual([second.id]);
  expect(disk.list('/data/journals')).toHaveLength(2);
  disk = disk.processCrash();
  expect(start(disk).id).toBe(second.id);
  expect(disk.list('/data/journals')).toHaveLength(1);
});

test('the journal of a worker that is no longer started is a leftover of the first one', async () => {
  let disk = createVolatileDisk();
  disk.makeFolder('/data');
  const other = openJournal({
    disk,
    dataFolder: '/data',
    worker: 1,
    workers: 2,
    limits: { segmentBytes: 64 * 1024, bytesMax: 1 << 22, diskReserveBytes: 0, windowMs: WINDOW_MS, idsMax: 1_000_000 },
    log: () => undefined,
    onDurable: () => undefined,
    onFailed: () => undefined,
  });
  await append(other, 'x');
  await other.close();
  disk = disk.processCrash();
  const first = start(disk);
  expect(first.leftovers()).toEqual([{ journal: other.id, lastSeq: 1 }]);
  expect(wasSeen(first, 'x')).toBe(true);
});
