/** The journal as accept sees it: names that last, room, failures beside the path of an event, the end. */
import { afterEach, expect, test } from 'bun:test';
import type { Disk } from './disk.ts';
import { JournalRefusal } from './errors.ts';
import { activeFolderName } from './names.ts';
import {
  appendKeys,
  createOpener,
  DATA_FOLDER,
  journalFolder,
  knows,
  newDisk,
  type Opened,
  openOn,
  readKeys,
  SEGMENT_BYTES,
  slowClock,
} from './testing/index.ts';

const { open, closeAll } = createOpener();
afterEach(closeAll);

const filesOf = (disk: Disk): string[] => disk.list(journalFolder(disk)).sort();
const until = async (condition: () => boolean): Promise<void> => {
  while (!condition()) await Bun.sleep(1);
};

test('a segment whose name was not synced when its process died is safe before anything in it is acknowledged', async () => {
  const disk = newDisk();
  let dying = false;
  const one = open({
    ...disk,
    syncFolder(path) {
      if (dying) throw new Error('killed here');
      disk.syncFolder(path);
    },
  });
  for (let at = 0; one.failures.length === 0; at++) {
    dying = filesOf(disk).some((name) => name.startsWith('spare-'));
    await appendKeys(one.journal, [`key-${at}`], 'x'.repeat(4_000));
  }
  expect(filesOf(disk)).toContain('000000000002.segment');
  const next = disk.processCrash();
  const two = open(next);
  expect(await appendKeys(two.journal, ['acknowledged'])).toBe(true);
  const three = open(next.powerCut(() => 0));
  expect(knows(three.journal, 'acknowledged')).toBe(true);
});

test('a secret and a folder whose names were not synced when their process died are safe after the next start', async () => {
  const disk = newDisk();
  const dies = (): never => {
    throw new Error('killed here');
  };
  expect(() => openOn({ ...disk, syncFolder: dies })).toThrow('killed here');
  expect(disk.list(DATA_FOLDER)).toContain('secret');
  const next = disk.processCrash();
  const two = open(next);
  expect(await appendKeys(two.journal, ['acknowledged'])).toBe(true);
  const three = open(next.powerCut(() => 0));
  expect(three.journal.id).toBe(two.journal.id);
  expect(knows(three.journal, 'acknowledged')).toBe(true);
});

test('what every sink has is condensed once it is settled, and no sooner', async () => {
  const disk = newDisk();
  let settledSeq = 0;
  const { journal } = open(disk, { settledSeq: () => settledSeq });
  const isThere = (segment: number): boolean => filesOf(disk).includes(`${String(segment).padStart(12, '0')}.segment`);
  const ends: number[] = [];
  while (ends.length < 2) {
    await until(() => journal.noRoom(4_000, 1) === undefined);
    await appendKeys(journal, [`key-${journal.nextSeq()}`], 'x'.repeat(4_000));
    if (isThere(ends.length + 2)) ends.push(journal.durableSeq() - 1);
  }
  journal.release(journal.id, journal.durableSeq());
  // One that may go shows that the others have had their chance.
  for (const [at, end] of ends.entries()) {
    expect([1, 2].map(isThere)).toEqual([at < 1, true]);
    expect(journal.state().pendingBytes).toBe(0);
    settledSeq = end;
    journal.release(journal.id, journal.durableSeq());
    await appendKeys(journal, [`key-${journal.nextSeq()}`]);
    journal.release(journal.id, journal.durableSeq());
    await until(() => !isThere(at + 1));
  }
  expect(knows(journal, 'key-1')).toBe(true);
});

test('workers that start for the first time at once share one secret', async () => {
  const disk = newDisk();
  let faster: Opened | undefined;
  const slower = open({
    ...disk,
    link(from, to) {
      faster ??= open(disk, { worker: 1, workers: 2 });
      return disk.link(from, to);
    },
  });
  for (const { journal } of [slower, faster as Opened]) {
    expect(await appendKeys(journal, ['acknowledged'])).toBe(true);
    await journal.close();
  }
  expect(disk.list(DATA_FOLDER).toSorted()).toEqual(['journals', 'secret']);
  const next = disk.processCrash();
  for (const worker of [0, 1]) expect(knows(open(next, { worker, workers: 2 }).journal, 'acknowledged')).toBe(true);
});

test('a data folder in a folder that may not be read is fine; one whose names cannot be synced is not', () => {
  const refusing = (folder: string, code: string): Disk => {
    const disk = newDisk();
    return {
      ...disk,
      syncFolder(path) {
        if (path === folder) throw Object.assign(new Error(code), { code });
        disk.syncFolder(path);
      },
    };
  };
  expect(open(refusing('/', 'EACCES')).journal.durableSeq()).toBe(0);
  expect(() => openOn(refusing('/', 'EIO'))).toThrow('EIO');
  expect(() => openOn(refusing(DATA_FOLDER, 'EACCES'))).toThrow('EACCES');
});

test('two journals that claim the same worker are refused: only one of them would be looked after', async () => {
  const disk = newDisk();
  const { journal } = open(disk);
  await appendKeys(journal, ['a']);
  const next = disk.processCrash();
  next.makeFolder(`${DATA_FOLDER}/journals/${activeFolderName(0, crypto.randomUUID())}`);
  expect(() => openOn(next)).toThrow(JournalRefusal);
  expect(() => openOn(next)).toThrow(/two journals.*weir doctor --restored/);
});

test('a disk too full for the first segment is refused in one sentence, and nothing of it stays', () => {
  const disk = newDisk();
  disk.setFreeBytes(10_000);
  let refusal: unknown;
  try {
    openOn(disk);
  } catch (error) {
    refusal = error;
  }
  expect(refusal).toMatchObject({ code: 'no_space' });
  disk.setFreeBytes(1 << 30);
  expect(open(disk).journal.durableSeq()).toBe(0);
});

test('too little free space is known from the first moment on', () => {
  const disk = newDisk();
  disk.setFreeBytes(1 << 20);
  const { journal } = open(disk, { limits: { diskReserveBytes: 2 << 20 } });
  expect(journal.noRoom(10, 1)).toMatchObject({ code: 'journal_full', message: expect.stringContaining('free') });
  expect(journal.state().state).toBe('full');
});

test('a disk that cannot tell its free space, or remove a file, harms nothing', async () => {
  const disk = newDisk();
  let broken = false;
  const fail = (what: string): never => {
    throw Object.assign(new Error(`EIO: ${what}`), { code: 'EIO' });
  };
  let monotonic = 0;
  const one = open(
    {
      ...disk,
      freeBytes: (path) => (broken ? fail('statfs') : disk.freeBytes(path)),
      remove: (path) => (broken ? fail('unlink') : disk.remove(path)),
    },
    { clock: { wallMs: Date.now, monotonicMs: () => monotonic }, limits: { windowMs: 60_000 } },
  );
  for (let at = 0; at < 40; at++) await appendKeys(one.journal, [`key-${at}`], 'x'.repeat(4_000));
  one.journal.release(one.journal.id, 40);
  await until(() => filesOf(disk).includes('000000000001.ids'));
  broken = true;
  monotonic += 120_000;
  await until(() => one.logged.some((line) => line.includes('EIO') || line.includes('again')));
  expect(await appendKeys(one.journal, ['later'])).toBe(true);
  expect(filesOf(disk)).toContain('000000000001.ids');
  broken = false;
  await until(() => !filesOf(disk).includes('000000000001.ids'));
});

test('ids that are still waiting for the disk do not expire, however long it takes', async () => {
  const disk = newDisk();
  let monotonic = 0;
  const one = open(disk, {
    clock: { wallMs: Date.now, monotonicMs: () => (monotonic += 50) },
    limits: { segmentBytes: 1 << 20, bytesMax: 1 << 24, windowMs: 1_000, idsMax: 1_000 },
  });
  expect(await appendKeys(one.journal, ['warm'])).toBe(true);
  await until(() => filesOf(disk).some((name) => name.startsWith('spare-')));
  const resume = disk.holdSyncs();
  const keys = (from: number) => Array.from({ length: 500 }, (_, at) => `key-${from + at}`);
  const waiting = [appendKeys(one.journal, keys(0))];
  for (let from = 500; from < 6_000; from += 500) {
    expect(one.journal.noRoom(0, 500)).toBeUndefined();
    waiting.push(appendKeys(one.journal, keys(from)));
  }
  monotonic += 60_000;
  // The journal looks at what has expired once a second.
  const before = one.journal.state().dedupeIds;
  await Bun.sleep(1_100);
  expect(one.journal.state().dedupeIds).toBeGreaterThanOrEqual(before - 1);
  resume();
  expect(new Set(await Promise.all(waiting))).toEqual(new Set([true]));
  expect(one.failures).toEqual([]);
  expect(readKeys(disk, 6_001)).toHaveLength(6_001);
});

test('while the disk stalls, half a segment of rows waits, as they will stand there, and one spare takes them all', async () => {
  const disk = newDisk();
  const { journal, failures } = open(disk, { clock: slowClock(), limits: { bytesMax: 2 * SEGMENT_BYTES } });
  await until(() => filesOf(disk).some((name) => name.startsWith('spare-')));
  const filler = 'x'.repeat(200);
  const append = (): Promise<boolean> => appendKeys(journal, [`key-${journal.nextSeq()}`], filler);
  while (journal.state().pendingBytes < 0.8 * SEGMENT_BYTES) expect(await append()).toBe(true);
  const before = journal.state().pendingBytes;
  const resume = disk.holdSyncs();
  // The first one is written, and its sync hangs; the others wait for it.
  const waiting = [append()];
  await new Promise((resolve) => setImmediate(resolve));
  while (journal.noRoom(300, 1) === undefined && waiting.length < 1_000) waiting.push(append());
  expect(journal.noRoom(300, 1)).toMatchObject({ code: 'overloaded', message: 'too much is waiting for the disk' });
  expect(filesOf(disk)).not.toContain('000000000002.segment');
  resume();
  expect(new Set(await Promise.all(waiting))).toEqual(new Set([true]));
  expect(filesOf(disk)).toContain('000000000002.segment');
  // The row that was asked for is not measured yet: three bytes for each of its characters.
  const waited = journal.state().pendingBytes - before;
  expect(waited).toBeGreaterThan(SEGMENT_BYTES / 2 - 3 * 300);
  // The first one, and the frames' own bytes.
  expect(waited).toBeLessThan(SEGMENT_BYTES / 2 + 500);
  expect(failures).toEqual([]);
  const count = journal.nextSeq() - 1;
  expect(readKeys(disk, count)).toHaveLength(count);
});

test('closed while a segment is being made and a sync is under way: it ends, leaves nothing half made, and twice is once', async () => {
  const disk = newDisk();
  const one = open(disk, { clock: slowClock() });
  const resume = disk.holdSyncs();
  const durable = appendKeys(one.journal, ['a']);
  const closing = [one.journal.close(), one.journal.close()];
  expect(one.journal.noRoom(10, 1)).toMatchObject({ code: 'shutting_down' });
  resume();
  expect(await Promise.all([durable, ...closing])).toEqual([true, true, true]);
  const after = filesOf(disk);
  expect(after.filter((name) => name.endsWith('.part'))).toEqual([]);
  one.journal.release(one.journal.id, 1);
  await new Promise((resolve) => setImmediate(resolve));
  expect(filesOf(disk)).toEqual(after);
  expect(readKeys(disk, 1)).toEqual(['a']);
});

test('while a segment begins on a slow disk, rows that fit into it are taken', async () => {
  const disk = newDisk();
  const one = open(disk, { clock: slowClock(), limits: { bytesMax: 2 * SEGMENT_BYTES } });
  await until(() => filesOf(disk).some((name) => name.startsWith('spare-')));
  while (filesOf(disk).length > 0 && !filesOf(disk).includes('000000000002.segment')) {
    const room = one.journal.noRoom(4_100, 1);
    if (room !== undefined) throw new Error(room.message);
    const resume = disk.holdSyncs();
    const first = appendKeys(one.journal, [`key-${one.journal.nextSeq()}`], 'x'.repeat(4_000));
    await new Promise((resolve) => setImmediate(resolve));
    await new Promise((resolve) => setImmediate(resolve));
    // Either the frame is being synced, or the header of the segment that it goes to.
    expect(one.journal.noRoom(2_000, 1)).toBeUndefined();
    resume();
    expect(await first).toBe(true);
  }
});
