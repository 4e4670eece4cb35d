/** Retention: what is delivered makes room, its ids stay, and the limit holds. */
import { afterEach, expect, test } from 'bun:test';
import type { Disk } from './disk.ts';
import {
  appendKeys,
  createOpener,
  journalFolder,
  knows,
  newDisk,
  type Opened,
  readKeys,
  SEGMENT_BYTES,
  slowClock,
} from './testing/index.ts';

const { open, closeAll } = createOpener();
afterEach(closeAll);

const filesOf = (disk: Disk): string[] => disk.list(journalFolder(disk)).sort();
const columnsOf = (disk: Disk): string[] => filesOf(disk).filter((name) => name.endsWith('.ids'));
const dataFilesOf = (disk: Disk): string[] => filesOf(disk).filter((name) => /^(spare-\d+|\d+\.segment)$/.test(name));
const until = async (condition: () => boolean): Promise<void> => {
  while (!condition()) await Bun.sleep(1);
};

/** Appends single rows of about `filler` bytes, as one who asks for room first. */
async function fill({ journal }: Opened, from: number, to: number, filler = 4_000): Promise<void> {
  for (let at = from; at < to; at++) {
    await until(() => journal.noRoom(filler + 100, 1) === undefined);
    expect(await appendKeys(journal, [`key-${at}`], 'x'.repeat(filler))).toBe(true);
  }
}

test('a delivered segment becomes an id column and a spare, and every id is known after a restart', async () => {
  const disk = newDisk();
  const one = open(disk);
  await fill(one, 0, 60);
  one.journal.release(one.journal.id, 60);
  // A segment goes a turn after its column has come.
  await until(() => columnsOf(disk).length === 4 && !dataFilesOf(disk).includes('000000000004.segment'));
  // The active one and the spares that are kept.
  expect(dataFilesOf(disk)).toHaveLength(4);
  const two = open(disk.processCrash());
  for (let at = 0; at < 60; at++) expect([at, knows(two.journal, `key-${at}`)]).toEqual([at, true]);
  expect(two.journal.state().releasedSeq).toBeGreaterThan(40);
});

test('a column that could not be written is written later, also when nothing more is released', async () => {
  const disk = newDisk();
  let broken = true;
  const one = open({
    ...disk,
    writeAsync(fd, bytes, position) {
      const isColumn = Buffer.from(bytes.subarray(0, 8)).toString() === 'WEIRIDS1';
      return broken && isColumn
        ? Promise.reject(Object.assign(new Error('ENOSPC'), { code: 'ENOSPC' }))
        : disk.writeAsync(fd, bytes, position);
    },
  });
  await fill(one, 0, 30);
  one.journal.release(one.journal.id, 30);
  await until(() => one.logged.some((line) => line.includes('tried again')));
  expect(columnsOf(disk)).toEqual([]);
  expect(filesOf(disk)).toContain('000000000001.segment');
  broken = false;
  await until(() => columnsOf(disk).length > 0 && !filesOf(disk).includes('000000000001.segment'));
  const two = open(disk.processCrash());
  expect(knows(two.journal, 'key-0')).toBe(true);
});

test('when too many ids push the oldest out of the index, their columns go, and the journal opens again', async () => {
  let disk = newDisk();
  const limits = { idsMax: 1_000 };
  let next = 0;
  const batch = (count: number): string[] => Array.from({ length: count }, () => `key-${next++}`);
  for (let life = 0; life < 2; life++) {
    const one = open(disk, { limits });
    for (let at = 0; at < 24; at++) {
      await until(() => one.journal.noRoom(200 * 100, 100) === undefined);
      expect(await appendKeys(one.journal, batch(100))).toBe(true);
      // The first segments are condensed while all of their ids still count.
      if (at === 11) one.journal.release(one.journal.id, one.journal.durableSeq());
    }
    // Once a second what is too much goes: the index now begins in the middle of a segment.
    await until(() => one.journal.state().dedupeIds <= 1_000);
    one.journal.release(one.journal.id, one.journal.durableSeq());
    await until(() => one.journal.state().segments <= 4);
    disk = disk.processCrash();
  }
  const last = open(disk, { limits });
  expect(last.journal.durableSeq()).toBe(next);
  expect(knows(last.journal, `key-${next - 900}`)).toBe(true);
  expect(knows(last.journal, 'key-0')).toBe(false);
});

test('the limit holds while a segment begins on a slow disk, and once it is reached nothing is lost', async () => {
  const disk = newDisk();
  let most = 0;
  const watched: Disk = {
    ...disk,
    rename(from, to) {
      disk.rename(from, to);
      if (from.includes('spare-')) most = Math.max(most, dataFilesOf(disk).length);
    },
  };
  const one = open(watched, { clock: slowClock(), limits: { bytesMax: 4 * SEGMENT_BYTES } });
  let taken = 0;
  for (let refused = ''; refused !== 'journal_full'; ) {
    const noRoom = one.journal.noRoom(4_100, 1);
    refused = noRoom?.code ?? '';
    if (noRoom === undefined) {
      const durable = appendKeys(one.journal, [`key-${taken++}`], 'x'.repeat(4_000));
      // Somebody asks for much room while the frame, or the segment that it goes to, is being synced.
      await new Promise((resolve) => setImmediate(resolve));
      one.journal.noRoom(9_000, 1);
      expect(await durable).toBe(true);
    } else await Bun.sleep(1);
  }
  expect(most).toBe(4);
  expect(readKeys(disk, taken)).toHaveLength(taken);
  expect(one.journal.state()).toMatchObject({ state: 'full', segments: 4 });
  // What is delivered makes room again, by itself.
  one.journal.release(one.journal.id, taken);
  await until(() => one.journal.noRoom(4_100, 1) === undefined);
});

test('segments of another size than today’s are read, counted by their real size, and not used again', async () => {
  const disk = newDisk();
  const one = open(disk, { limits: { segmentBytes: 4 * SEGMENT_BYTES, bytesMax: 32 * SEGMENT_BYTES } });
  await fill(one, 0, 100);
  await one.journal.close();
  const two = open(disk, { limits: { bytesMax: 12 * SEGMENT_BYTES } });
  // Two segments of the old size stand there: eight of today's.
  expect(readKeys(disk, 100)).toHaveLength(100);
  await fill(two, 100, 160);
  expect(two.failures).toEqual([]);
  const bytes = dataFilesOf(disk).reduce((sum, name) => sum + disk.size(`${journalFolder(disk)}/${name}`), 0);
  expect(bytes).toBeLessThanOrEqual(12 * SEGMENT_BYTES);
  two.journal.release(two.journal.id, two.journal.durableSeq());
  await until(() => dataFilesOf(disk).every((name) => disk.size(`${journalFolder(disk)}/${name}`) === SEGMENT_BYTES));
  await two.journal.close();
  const three = open(disk, { limits: { segmentBytes: 2 * SEGMENT_BYTES, bytesMax: 16 * SEGMENT_BYTES } });
  await fill(three, 160, 200);
  expect(three.failures).toEqual([]);
  for (const at of [0, 99, 100, 159, 199]) expect(knows(three.journal, `key-${at}`)).toBe(true);
});

test('on a slow disk the event loop never waits for a sync, of a file or of a folder', async () => {
  const disk = newDisk();
  const waits: string[] = [];
  let started = false;
  const one = open(
    {
      ...disk,
      sync(fd) {
        if (started) waits.push('file');
        disk.sync(fd);
      },
      syncFolder(path) {
        if (started) waits.push(`folder ${path}`);
        disk.syncFolder(path);
      },
    },
    { clock: slowClock() },
  );
  await appendKeys(one.journal, ['warm']);
  expect(one.journal.state().syncMode).toBe('pool');
  started = true;
  await fill(one, 0, 80);
  one.journal.release(one.journal.id, 60);
  await until(() => columnsOf(disk).length >= 3);
  await fill(one, 80, 120);
  expect(waits).toEqual([]);
});

test('bytes that wait for delivery shrink as it goes on', async () => {
  const disk = newDisk();
  const one = open(disk);
  await fill(one, 0, 40);
  const all = one.journal.state().pendingBytes;
  expect(all).toBeGreaterThan(40 * 4_000);
  one.journal.release(one.journal.id, 20);
  const half = one.journal.state().pendingBytes;
  expect(half).toBeLessThan(0.6 * all);
  one.journal.release(one.journal.id, 40);
  expect(one.journal.state().pendingBytes).toBe(0);
  await until(() => columnsOf(disk).length > 0);
  expect(one.journal.state().pendingBytes).toBe(0);
});
