/** What a start makes of the files that it finds. */
import { afterEach, expect, test } from 'bun:test';
import type { Disk } from './disk.ts';
import { encodeSegmentHeader } from './format.ts';
import { encodeColumn, readColumn } from './id-column.ts';
import { readSegmentHeader } from './segment-scan.ts';
import {
  appendKeys,
  createOpener,
  DATA_FOLDER,
  journalFolder,
  knows,
  lastSegment,
  newDisk,
  type Opened,
  openOn,
  readKeys,
  type VolatileDisk,
} from './testing/index.ts';

const MINUTE_MS = 60_000;
const { open, closeAll } = createOpener();
afterEach(closeAll);

const namesIn = (disk: Disk, ending: string): string[] =>
  disk
    .list(journalFolder(disk))
    .filter((name) => name.endsWith(ending))
    .sort();
const until = async (condition: () => boolean): Promise<void> => {
  while (!condition()) await Bun.sleep(1);
};

/** Five segments of events, of which the first three are delivered and condensed. */
async function condensed(more: Parameters<typeof openOn>[1] = {}): Promise<{ disk: VolatileDisk; one: Opened }> {
  const disk = newDisk();
  const one = open(disk, more);
  for (let at = 0; at < 70; at++) {
    await until(() => one.journal.noRoom(4_100, 1) === undefined);
    expect(await appendKeys(one.journal, [`key-${at}`], 'x'.repeat(4_000))).toBe(true);
    if (at === 50) one.journal.release(one.journal.id, 50);
  }
  await until(() => namesIn(disk, '.ids').length === 3);
  return { disk, one };
}

function clock(startMs: number) {
  const time = { wall: startMs, monotonic: 0 };
  return { time, sources: { wallMs: () => time.wall, monotonicMs: () => time.monotonic } };
}

const HOUR = { limits: { windowMs: 60 * MINUTE_MS } };

for (const kind of ['delivered and condensed', 'waiting for delivery'] as const)
  test(`after a restart an id of 59 minutes ago is known and one of 61 minutes ago is not (${kind})`, async () => {
    const { time, sources } = clock(Date.UTC(2026, 0, 1));
    let disk = newDisk();
    const one = open(disk, { ...HOUR, clock: sources });
    for (let minute = 0; minute < 120; minute++) {
      await until(() => one.journal.noRoom(4_100, 1) === undefined);
      expect(await appendKeys(one.journal, [`minute-${minute}`], 'x'.repeat(4_000))).toBe(true);
      time.wall += MINUTE_MS;
      time.monotonic += MINUTE_MS;
      if (kind !== 'waiting for delivery') one.journal.release(one.journal.id, one.journal.durableSeq());
    }
    if (kind !== 'waiting for delivery') await until(() => one.journal.state().segments <= 4);
    for (let restart = 0; restart < 3; restart++) {
      disk = disk.processCrash();
      const again = open(disk, { ...HOUR, clock: sources });
      // Now is minute 120 + restart; minute m lies 120 + restart - m minutes back.
      const minutesBack = (back: number): boolean => knows(again.journal, `minute-${120 + restart - back}`);
      expect([1 + restart, 30, 58, 59].map(minutesBack)).toEqual([true, true, true, true]);
      expect([62, 70, 90].map(minutesBack)).toEqual([false, false, false]);
      time.wall += MINUTE_MS;
      time.monotonic += MINUTE_MS;
    }
  });

test('columns that left the window while nobody ran are removed, and a gap in front of them is none', async () => {
  const { time, sources } = clock(Date.UTC(2026, 0, 1));
  const { disk } = await condensed({ ...HOUR, clock: sources });
  const next = disk.processCrash();
  time.wall += 61 * MINUTE_MS;
  next.remove(`${journalFolder(next)}/000000000002.ids`);
  const again = open(next, { ...HOUR, clock: sources });
  expect(namesIn(next, '.ids')).toEqual([]);
  expect(knows(again.journal, 'key-0')).toBe(false);
  expect(again.journal.durableSeq()).toBe(70);
});

test('an id column that is missing, damaged or another’s refuses to start and names the file', async () => {
  const { disk } = await condensed();
  const folder = journalFolder(disk);
  const middle = `${folder}/000000000002.ids`;
  const flipped = disk.processCrash();
  const bytes = flipped.bytesOf(middle);
  bytes[100] = (bytes[100] as number) ^ 1;
  expect(() => openOn(flipped)).toThrow(/000000000002\.ids.*cannot be read/);
  bytes[100] = (bytes[100] as number) ^ 1;

  const column = readColumn(flipped, middle);
  if (column === undefined) throw new Error('the column is sound');
  bytes.set(encodeColumn({ ...column, journal: crypto.randomUUID() }));
  expect(() => openOn(flipped)).toThrow(/000000000002\.ids.*belongs to/);
  bytes.set(encodeColumn({ ...column, segment: 9 }));
  expect(() => openOn(flipped)).toThrow(/belongs to segment 9/);
  bytes.set(encodeColumn(column));

  flipped.remove(middle);
  expect(() => openOn(flipped)).toThrow(/000000000001\.ids.*the ids 15 to 28 behind it are missing/);
  flipped.remove(`${folder}/000000000001.ids`);
  expect(open(flipped).journal.durableSeq()).toBe(70);
});

test('a segment whose column was written before the crash is recycled, and its ids are known once', async () => {
  const disk = newDisk();
  const one = open({
    ...disk,
    rename(from, to) {
      // Dies between the column and the segment's new name.
      if (from.endsWith('000000000001.segment')) throw new Error('killed here');
      disk.rename(from, to);
    },
  });
  for (let at = 0; at < 40; at++) {
    await until(() => one.journal.noRoom(4_100, 1) === undefined);
    await appendKeys(one.journal, [`key-${at}`], 'x'.repeat(4_000));
  }
  one.journal.release(one.journal.id, 20);
  await until(() => one.logged.some((line) => line.includes('tried again')));
  const next = disk.processCrash();
  expect(namesIn(next, '.ids')).toEqual(['000000000001.ids']);
  expect(namesIn(next, '.segment')).toContain('000000000001.segment');
  const again = open(next);
  expect(namesIn(next, '.segment')).not.toContain('000000000001.segment');
  expect(again.journal.state().dedupeIds).toBe(40);
  expect(knows(again.journal, 'key-0')).toBe(true);
  expect(again.journal.state().releasedSeq).toBe(14);
});

test('an empty last segment goes on where the one before it ended', async () => {
  const disk = newDisk();
  const one = open(disk);
  let rolled = false;
  for (let at = 0; !rolled; at++) {
    await until(() => one.journal.noRoom(4_100, 1) === undefined);
    await appendKeys(one.journal, [`key-${at}`], 'x'.repeat(4_000));
    rolled = namesIn(disk, '.segment').length === 2;
  }
  const last = one.journal.durableSeq();
  const next = disk.processCrash();
  // The frame that the second segment was begun for never arrived.
  next.bytesOf(lastSegment(next)).fill(0, 4_096);
  const again = open(next);
  expect(again.journal.durableSeq()).toBe(last - 1);
  expect(await appendKeys(again.journal, ['after'])).toBe(true);
  expect(readKeys(next, last).at(-1)).toBe('after');
});

test('another secret, another journal’s segment, a newer format and a foreign file are each refused by name', async () => {
  const { disk } = await condensed();
  const next = disk.processCrash();
  const path = lastSegment(next);
  const bytes = next.bytesOf(path);
  const fd = next.open(path, 'read');
  const header = readSegmentHeader(next, fd);
  next.close(fd);
  if (typeof header === 'string') throw new Error('the header is sound');
  const sound = bytes.slice();
  const codeOf = (work: () => unknown): unknown => {
    try {
      work();
    } catch (error) {
      return [(error as { code: string }).code, (error as { file: string }).file];
    }
    return undefined;
  };
  bytes.set(encodeSegmentHeader({ ...header, secretCheck: 1n }));
  expect(codeOf(() => openOn(next))).toEqual(['secret_mismatch', path]);
  bytes.set(encodeSegmentHeader({ ...header, journal: crypto.randomUUID() }));
  expect(codeOf(() => openOn(next))).toEqual(['damaged', path]);
  bytes.set(encodeSegmentHeader({ ...header, segment: header.segment + 1 }));
  expect(codeOf(() => openOn(next))).toEqual(['damaged', path]);
  bytes.set(sound);
  bytes[8] = 2;
  expect(codeOf(() => openOn(next))).toEqual(['newer_format', path]);
  bytes.set(sound);
  bytes[0] = 0;
  expect(codeOf(() => openOn(next))).toEqual(['damaged', path]);
  bytes.set(sound);
  next.remove(`${DATA_FOLDER}/secret`);
  expect(codeOf(() => openOn(next))).toEqual(['secret_missing', `${DATA_FOLDER}/secret`]);
});

test('a segment that is missing in the middle refuses to start', async () => {
  const disk = newDisk();
  const one = open(disk);
  for (let at = 0; at < 60; at++) {
    await until(() => one.journal.noRoom(4_100, 1) === undefined);
    await appendKeys(one.journal, [`key-${at}`], 'x'.repeat(4_000));
  }
  const next = disk.processCrash();
  next.remove(`${journalFolder(next)}/000000000002.segment`);
  expect(() => openOn(next)).toThrow(/000000000001\.segment.*cannot be read, but segment 3 begins with frame/);
});

test('what is half made is removed, what nobody knows is left alone', async () => {
  const { disk } = await condensed();
  const next = disk.processCrash();
  const folder = journalFolder(next);
  for (const name of ['spare-000000000099.part', '000000000004.ids.part', 'notes.txt'])
    next.close(next.open(`${folder}/${name}`, 'create'));
  open(next);
  expect(next.list(folder).filter((name) => name.endsWith('.part'))).toEqual([]);
  expect(next.list(folder)).toContain('notes.txt');
});

test('fewer ids than before: the oldest are forgotten at the start, and later starts agree', async () => {
  const { disk } = await condensed();
  let next = disk;
  for (let start = 0; start < 3; start++) {
    next = next.processCrash();
    const again = open(next, { limits: { idsMax: 40 } });
    expect([knows(again.journal, 'key-0'), knows(again.journal, 'key-69')]).toEqual([false, true]);
    expect(again.journal.state().dedupeIds).toBeLessThanOrEqual(40);
    if (start === 1) await until(() => namesIn(next, '.ids').length < 3);
  }
});
