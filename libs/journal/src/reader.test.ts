import { afterEach, beforeEach, expect, test } from 'bun:test';
import { JournalGapError } from './errors.ts';
import { type Journal, openJournal } from './journal.ts';
import { type JournalReader, listJournals, openJournalReader } from './reader.ts';
import { createVolatileDisk, type VolatileDisk } from './testing/index.ts';

const SEGMENT_BYTES = 64 * 1024;
let disk: VolatileDisk;
let journal: Journal;
let reader: JournalReader;

beforeEach(() => {
  disk = createVolatileDisk();
  disk.makeFolder('/data');
  journal = openJournal({
    disk,
    dataFolder: '/data',
    worker: 0,
    workers: 1,
    limits: {
      segmentBytes: SEGMENT_BYTES,
      bytesMax: 64 * SEGMENT_BYTES,
      diskReserveBytes: 0,
      windowMs: 3_600_000,
      idsMax: 1_000_000,
    },
    log: () => undefined,
    onDurable: () => undefined,
    onFailed: () => undefined,
  });
  reader = openJournalReader(disk, listJournals(disk, '/data')[0] as never);
});
afterEach(async () => {
  reader.close();
  await journal.close();
});

/** One frame of `count` rows. */
async function append(count: number, filler = 400): Promise<void> {
  const id = new Uint32Array(4);
  let text = '';
  for (let at = 0; at < count; at++) {
    journal.hash(`key-${journal.nextSeq()}`, id);
    text += `{"seq":${journal.claim(id)},"filler":"${'x'.repeat(filler)}"}\n`;
  }
  expect(await journal.append(text, count)).toBe(true);
  // The next segment is made in the background.
  while (journal.noRoom(10_000, 10) !== undefined) await Bun.sleep(1);
}

async function readAll(from: number, limits = { rowsMax: 7, bytesMax: 5_000 }): Promise<number[]> {
  const seqs: number[] = [];
  for (let after = from; ; ) {
    const frames = reader.read(after, limits);
    const last = frames.at(-1);
    if (last === undefined) return seqs;
    after = last.lastSeq;
    for (const frame of frames)
      for (const row of new TextDecoder().decode(frame.payload).split('\n').slice(0, -1))
        seqs.push((JSON.parse(row) as { seq: number }).seq);
  }
}

const upTo = (count: number): number[] => Array.from({ length: count }, (_, at) => at + 1);

test('gives every row in order, through many segments, whatever the limits', async () => {
  for (let at = 0; at < 200; at++) await append(1 + (at % 7));
  const last = journal.durableSeq();
  reader.noteDurable(last);
  expect(journal.state().segments).toBeGreaterThan(4);
  for (const limits of [
    { rowsMax: 1, bytesMax: 1 },
    { rowsMax: 13, bytesMax: 1 << 20 },
    { rowsMax: 1_000_000, bytesMax: 1 << 30 },
  ])
    expect(await readAll(0, limits)).toEqual(upTo(last));
  // From the end of any frame: here the third one's.
  expect((await readAll(6)).at(0)).toBe(7);
});

test('never passes the durable position: the last frame needs a nudge or a successor', async () => {
  await append(2);
  expect(reader.read(0, { rowsMax: 10, bytesMax: 1e6 })).toEqual([]);
  await append(3);
  expect(reader.read(0, { rowsMax: 10, bytesMax: 1e6 }).map((frame) => frame.lastSeq)).toEqual([2]);
  reader.noteDurable(journal.durableSeq());
  expect(reader.read(2, { rowsMax: 10, bytesMax: 1e6 }).map((frame) => frame.lastSeq)).toEqual([5]);
});

test('goes on when the segment it stands at the end of is recycled before the next read', async () => {
  // Frames that end exactly where a read stops, at every place of the first segments.
  for (let at = 0; at < 300; at++) await append(1, 700);
  const last = journal.durableSeq();
  const seqs: number[] = [];
  for (let after = 0; after < last; ) {
    reader.noteDurable(Math.min(last, after + 1));
    const frames = reader.read(after, { rowsMax: 1, bytesMax: 1 });
    expect(frames).toHaveLength(1);
    after = frames[0]?.lastSeq ?? 0;
    seqs.push(after);
    journal.release(journal.id, after);
    await Bun.sleep(0);
  }
  expect(seqs).toEqual(upTo(last));
  expect(journal.state().segments).toBeLessThan(5);
});

test('says where it is asked for what is gone, or has never been', async () => {
  for (let at = 0; at < 300; at++) await append(1, 700);
  journal.release(journal.id, 200);
  while (reader.oldestSeq() === 1) await Bun.sleep(1);
  expect(() => reader.read(0, { rowsMax: 1, bytesMax: 1 })).toThrow(JournalGapError);
  const beyond = (): unknown => reader.read(journal.durableSeq() + 1, { rowsMax: 1, bytesMax: 1 });
  expect(beyond).toThrow(/ends at event/);
});

test('a file that got a new life while it was read counts for nothing', async () => {
  for (let at = 0; at < 60; at++) await append(1, 700);
  reader.noteDurable(journal.durableSeq());
  expect(reader.read(0, { rowsMax: 1, bytesMax: 1 })).toHaveLength(1);
  const folder = listJournals(disk, '/data')[0]?.folder ?? '';
  // The header of another life under the reader's open file.
  const header = disk.bytesOf(`${folder}/000000000001.segment`);
  header[40] = (header[40] as number) ^ 0xff;
  expect(reader.read(1, { rowsMax: 1, bytesMax: 1 })).toEqual([]);
  // And it is not silence for ever: the next read says that the frame is gone.
  expect(() => reader.read(1, { rowsMax: 1, bytesMax: 1 })).toThrow(JournalGapError);
});

test('two who read at different places each get their rows in order', async () => {
  for (let at = 0; at < 120; at++) await append(1 + (at % 3), 700);
  reader.noteDurable(journal.durableSeq());
  const cursors = [0, 0];
  const seen: number[][] = [[], []];
  for (let turn = 0; cursors.some((cursor) => cursor < journal.durableSeq()); turn++) {
    const who = turn % 5 === 0 ? 1 : 0;
    for (const frame of reader.read(cursors[who] as number, { rowsMax: 4, bytesMax: 1e6 })) {
      for (let seq = frame.firstSeq; seq <= frame.lastSeq; seq++) seen[who]?.push(seq);
      cursors[who] = frame.lastSeq;
    }
  }
  expect(seen[0]).toEqual(upTo(journal.durableSeq()));
  expect(seen[1]).toEqual(upTo(journal.durableSeq()));
});

test('a place inside a frame is refused, and so is one behind a tail that was cut', async () => {
  await append(3);
  await append(3);
  reader.noteDurable(6);
  expect(() => reader.read(4, { rowsMax: 1, bytesMax: 1 })).toThrow(/does not end a frame/);
  expect(() => reader.read(9, { rowsMax: 1, bytesMax: 1 })).toThrow(/ends at event 6/);
});

test('a segment that is recycled while it is being opened, and a folder that is gone, are nothing, not an error', async () => {
  for (let at = 0; at < 100; at++) await append(1, 700);
  const found = listJournals(disk, '/data')[0] as never;
  const gone = Object.assign(new Error('ENOENT'), { code: 'ENOENT' });
  let left = 1;
  const late = openJournalReader(
    {
      ...disk,
      size(path) {
        if (left-- > 0) throw gone;
        return disk.size(path);
      },
    },
    found,
  );
  // The oldest one vanished between its name and its size: the next one is the oldest.
  expect(late.oldestSeq()).toBeGreaterThan(1);
  late.close();
  const without = openJournalReader(
    {
      ...disk,
      list() {
        throw gone;
      },
    },
    found,
  );
  expect(without.oldestSeq()).toBe(1);
  expect(without.read(0, { rowsMax: 1, bytesMax: 1 })).toHaveLength(1);
  without.close();
});

test('frames of one read lie one behind the other, when it is known how many come; those of the next one elsewhere', async () => {
  for (let at = 0; at < 60; at++) await append(1 + (at % 5), 400 + (at % 3));
  reader.noteDurable(journal.durableSeq());
  const all = { rowsMax: 1_000, bytesMax: 1 << 20 };
  const frames = reader.read(0, all);
  const payloads = frames.map(({ payload }) => payload);
  const ends = payloads.map(({ byteOffset, byteLength }) => byteOffset + byteLength);
  expect(frames.at(-1)?.lastSeq).toBe(journal.durableSeq());
  expect(new Set(payloads.map(({ buffer }) => buffer)).size).toBe(1);
  expect(payloads.slice(1).map(({ byteOffset }) => byteOffset)).toEqual(ends.slice(0, -1));
  expect(reader.read(0, all)[0]?.payload.buffer).not.toBe(payloads[0]?.buffer);
});

test('rows that are longer than the first one made expect: every frame is whole', async () => {
  for (let at = 0; at < 12; at++) await append(3, 50 + at * 500);
  reader.noteDurable(journal.durableSeq());
  expect(await readAll(0, { rowsMax: 1_000, bytesMax: 1 << 20 })).toEqual(upTo(36));
});

test('what was read stays as it is, though the segment gets another life', async () => {
  for (let at = 0; at < 60; at++) await append(1, 700);
  reader.noteDurable(journal.durableSeq());
  const [frame] = reader.read(0, { rowsMax: 1, bytesMax: 1 });
  const before = new TextDecoder().decode(frame?.payload);
  journal.release(journal.id, 60);
  for (let at = 0; at < 200; at++) {
    await append(1, 701);
    journal.release(journal.id, journal.durableSeq());
  }
  expect(new TextDecoder().decode(frame?.payload)).toBe(before);
});
