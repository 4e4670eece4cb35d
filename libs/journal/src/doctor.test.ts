/** What the doctor says of a journal, and what is left of it after its cuts. */
import { afterEach, expect, test } from 'bun:test';
import type { Disk } from './disk.ts';
import { cutJournal, inspectJournal, type JournalReport, retireJournal, rowsBehindDamage } from './doctor.ts';
import { listJournals, openJournalReader } from './reader.ts';
import {
  appendKeys,
  createVolatileDisk,
  DATA_FOLDER,
  knows,
  type Opened,
  openOn,
  type VolatileDisk,
} from './testing/index.ts';

const ROOT = `${DATA_FOLDER}/journals`;
const ASIDE = `${DATA_FOLDER}/set-aside`;
const opened: Opened[] = [];
afterEach(() => {
  for (const { journal } of opened.splice(0)) void journal.close().catch(() => false);
});

function open(disk: Disk): Opened {
  const one = openOn(disk);
  opened.push(one);
  return one;
}

const until = async (condition: () => boolean): Promise<void> => {
  while (!condition()) await Bun.sleep(1);
};

/** 70 events of 4 KB, 14 to a segment; the first `released` are delivered. The process has died. */
async function journalOf(released = 0): Promise<VolatileDisk> {
  const disk = createVolatileDisk();
  disk.makeFolder(DATA_FOLDER);
  const { journal } = open(disk);
  for (let at = 1; at <= 70; at++) {
    await until(() => journal.noRoom(4_100, 1) === undefined);
    expect(await appendKeys(journal, [`key-${at}`], 'x'.repeat(4_000))).toBe(true);
  }
  journal.release(journal.id, released);
  const condensed = Math.floor(released / 14);
  // A segment goes a turn after its column has come.
  await until(() => namesIn(disk, '.ids').length === condensed && namesIn(disk, '.segment').length === 5 - condensed);
  return disk.processCrash();
}

const folderOf = (disk: Disk): string => listJournals(disk, DATA_FOLDER)[0]?.folder ?? '';
const namesIn = (disk: Disk, ending: string): string[] =>
  disk
    .list(folderOf(disk))
    .filter((name) => name.endsWith(ending))
    .sort();
const pathOf = (disk: Disk, name: string): string => `${folderOf(disk)}/${name}`;
const inspect = (disk: Disk): JournalReport => inspectJournal(disk, listJournals(disk, DATA_FOLDER)[0] as never);

function flip(disk: VolatileDisk, name: string, at: number): void {
  const bytes = disk.bytesOf(pathOf(disk, name));
  bytes[at] = (bytes[at] as number) ^ 0x10;
}

function keysOf(rows: Iterable<Uint8Array>): string[] {
  return [...rows].flatMap((bytes) =>
    new TextDecoder()
      .decode(bytes)
      .split('\n')
      .slice(0, -1)
      .map((row) => (JSON.parse(row) as { eventId: string }).eventId),
  );
}

const keys = (from: number, to: number): string[] =>
  Array.from({ length: to - from + 1 }, (_, at) => `key-${from + at}`);

/** Cuts, starts, and gives the keys that are delivered from the retired journal, and which are known as duplicates. */
function afterCut(disk: VolatileDisk): { delivered: string[]; journal: Opened['journal'] } {
  const report = inspect(disk);
  cutJournal(disk, report, ROOT, ASIDE);
  expect(inspect(disk)).toMatchObject({ journal: report.journal, retired: true, damage: [] });
  const { journal } = open(disk);
  expect(journal.id).not.toBe(report.journal);
  const retired = listJournals(disk, DATA_FOLDER).find((one) => one.journal === report.journal);
  const delivered: string[] = [];
  if (retired !== undefined) {
    const reader = openJournalReader(disk, retired);
    reader.noteDurable(journal.leftovers()[0]?.lastSeq ?? 0);
    for (let after = reader.oldestSeq() - 1; ; ) {
      const frames = reader.read(after, { rowsMax: 10, bytesMax: 1e6 });
      const last = frames.at(-1);
      if (last === undefined) break;
      delivered.push(...keysOf(frames.map(({ payload }) => payload)));
      after = last.lastSeq;
    }
    reader.close();
  }
  return { delivered, journal };
}

test('a sound journal has no damage, and its numbers are right', async () => {
  expect(inspect(await journalOf(40))).toMatchObject({
    retired: false,
    segments: 3,
    frames: 42,
    events: 42,
    firstSeq: 29,
    lastSeq: 70,
    idColumns: 2,
    damage: [],
  });
});

test('a bad frame in the middle: what stands before it is delivered, every row behind it is saved', async () => {
  const disk = await journalOf();
  // The third frame of the second segment: events 15 to 28 stand there.
  flip(disk, '000000000002.segment', 4_096 + 2 * 4_152 + 300);
  const report = inspect(disk);
  expect(report).toMatchObject({ events: 16, firstSeq: 1, lastSeq: 16 });
  expect(report.damage).toMatchObject([
    { file: pathOf(disk, '000000000002.segment'), framesBehind: 11, eventsBehind: 11 },
  ]);
  expect(() => openOn(disk)).toThrow(`byte ${report.damage[0]?.offset}:`);
  expect(keysOf(rowsBehindDamage(disk, report))).toEqual(keys(18, 70));
  const { delivered, journal } = afterCut(disk);
  expect(delivered).toEqual(keys(1, 16));
  expect([knows(journal, 'key-16'), knows(journal, 'key-18')]).toEqual([true, false]);
  expect(disk.list(ASIDE)).toHaveLength(4);
});

test('the last frame of a sealed segment is bad: nothing in the segments behind it is lost', async () => {
  const disk = await journalOf();
  flip(disk, '000000000002.segment', 4_096 + 13 * 4_152 + 300);
  const report = inspect(disk);
  expect(report.damage).toHaveLength(1);
  expect(report.damage[0]?.what).toContain('segment 3 begins with frame 29');
  expect(keysOf(rowsBehindDamage(disk, report))).toEqual(keys(29, 70));
  expect(afterCut(disk).delivered).toEqual(keys(1, 27));
});

test('a segment that is missing: the rows of all that stand behind it are saved', async () => {
  const disk = await journalOf();
  disk.remove(pathOf(disk, '000000000002.segment'));
  expect(keysOf(rowsBehindDamage(disk, inspect(disk)))).toEqual(keys(29, 70));
  expect(afterCut(disk).delivered).toEqual(keys(1, 14));
});

test('a header that cannot be read: the rows of its own segment are saved too', async () => {
  const disk = await journalOf();
  flip(disk, '000000000003.segment', 50);
  const report = inspect(disk);
  expect(report.damage).toMatchObject([{ offset: 0, eventsBehind: 14, what: 'the header of the segment is damaged' }]);
  expect(keysOf(rowsBehindDamage(disk, report))).toEqual(keys(29, 70));
  expect(afterCut(disk).delivered).toEqual(keys(1, 28));
});

for (const at of [50, 4_096 + 300])
  test(`the first byte that counts is bad (${at}), with id columns in front: the service starts after the cut`, async () => {
    const disk = await journalOf(40);
    flip(disk, '000000000003.segment', at);
    const report = inspect(disk);
    expect(keysOf(rowsBehindDamage(disk, report))).toEqual(keys(at === 50 ? 29 : 30, 70));
    const { delivered, journal } = afterCut(disk);
    expect(delivered).toEqual([]);
    // Where the header was lost, nobody can tell where the ids in front of it end.
    expect(knows(journal, 'key-1')).toBe(at !== 50);
  });

test('a bad id column costs ids and no event: all segments stay', async () => {
  const disk = await journalOf(40);
  flip(disk, '000000000002.ids', 100);
  const report = inspect(disk);
  expect(report.damage).toMatchObject([{ file: pathOf(disk, '000000000002.ids') }]);
  expect(report).toMatchObject({ events: 42, lastSeq: 70 });
  expect(keysOf(rowsBehindDamage(disk, report))).toEqual([]);
  const { delivered, journal } = afterCut(disk);
  expect(delivered).toEqual(keys(29, 70));
  expect([knows(journal, 'key-28'), knows(journal, 'key-29')]).toEqual([false, true]);
});

test('an id column that is missing in the middle is seen, and the ones in front of it go', async () => {
  const disk = await journalOf(60);
  disk.remove(pathOf(disk, '000000000003.ids'));
  expect(inspect(disk).damage).toMatchObject([{ file: pathOf(disk, '000000000002.ids') }]);
  expect(() => openOn(disk)).toThrow('are missing');
  const { journal, delivered } = afterCut(disk);
  expect(delivered).toEqual(keys(57, 70));
  expect([knows(journal, 'key-42'), knows(journal, 'key-50')]).toEqual([false, true]);
});

test('a cut that dies at any step leaves no journal that starts as if nothing had been cut, and can be repeated', async () => {
  const template = await journalOf();
  const folder = folderOf(template);
  for (let dieAt = 0; ; dieAt++) {
    const disk = createVolatileDisk();
    copy(template, disk, folder);
    flip(disk, '000000000002.segment', 4_096 + 2 * 4_152 + 300);
    let steps = 0;
    const step = (): void => {
      if (steps++ === dieAt) throw new Error('killed here');
    };
    const dying: Disk = {
      ...disk,
      rename(from, to) {
        step();
        disk.rename(from, to);
      },
      write(fd, bytes, position) {
        step();
        disk.write(fd, bytes, position);
      },
    };
    const report = inspect(disk);
    let died = false;
    try {
      cutJournal(dying, report, ROOT, ASIDE);
    } catch {
      died = true;
    }
    // Either nothing has happened yet, or the journal's id is not used any more.
    const [now] = listJournals(disk, DATA_FOLDER);
    expect([dieAt, now?.worker]).toEqual([dieAt, dieAt === 0 ? 0 : undefined]);
    if (inspect(disk).damage.length > 0) {
      expect(() => openOn(disk)).toThrow('damaged');
      cutJournal(disk, inspect(disk), ROOT, ASIDE);
    }
    expect(inspect(disk)).toMatchObject({ events: 16, damage: [] });
    expect(open(disk).journal.leftovers()).toMatchObject([{ lastSeq: 16 }]);
    if (!died) break;
  }
});

test('a newer format is no damage: there is nothing to cut', async () => {
  const disk = await journalOf();
  const bytes = disk.bytesOf(pathOf(disk, '000000000002.segment'));
  bytes[8] = 2;
  expect(() => inspect(disk)).toThrow(expect.objectContaining({ code: 'newer_format' }));
});

test('retired after a restore: delivered to its end, its ids count, and a new journal begins', async () => {
  const disk = await journalOf(40);
  const [before] = listJournals(disk, DATA_FOLDER);
  const folder = retireJournal(disk, before as never, ROOT);
  expect(folder).toBe(`${ROOT}/retired-${before?.journal}`);
  // Twice is once.
  expect(retireJournal(disk, { journal: before?.journal ?? '', folder }, ROOT)).toBe(folder);
  const { journal } = open(disk);
  expect(journal.leftovers()).toEqual([{ journal: before?.journal ?? '', lastSeq: 70 }]);
  expect([knows(journal, 'key-1'), knows(journal, 'key-70')]).toEqual([true, true]);
});

function copy(from: VolatileDisk, to: VolatileDisk, folder: string): void {
  for (const one of [DATA_FOLDER, ROOT, folder]) {
    to.makeFolder(one);
    for (const name of from.list(one)) {
      const path = `${one}/${name}`;
      if (!from.exists(path) || path === ROOT || path === folder) continue;
      const fd = to.open(path, 'create');
      to.write(fd, from.bytesOf(path), 0);
      to.close(fd);
    }
  }
}
