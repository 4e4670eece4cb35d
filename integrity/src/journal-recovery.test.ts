/** What recovery makes of a journal that was torn, bitten or interrupted. */
import { afterEach, expect, test } from 'bun:test';
import { JournalRefusal } from '@libs/journal';
import {
  appendKeys,
  createOpener,
  journalFolder,
  knows,
  lastSegment,
  newDisk,
  type Opened,
  openOn as open,
  readKeys,
  SEGMENT_BYTES,
  type VolatileDisk,
} from '@libs/journal/testing';

const { open: reopen, closeAll } = createOpener();
afterEach(closeAll);

/** Fills segments, delivers them, and goes on until the active segment is a recycled one. */
async function untilRecycled(disk: VolatileDisk): Promise<Opened> {
  const one = reopen(disk);
  for (let at = 0; at < 400; at++) {
    await appendKeys(one.journal, [`old-${at}`], 'x'.repeat(1_000));
    one.journal.release(one.journal.id, one.journal.durableSeq());
    await Bun.sleep(0);
  }
  return one;
}

/** The bytes of the last frame in the active segment: where it begins and how long it is. */
async function lastFrame(disk: VolatileDisk, one: Opened): Promise<{ path: string; offset: number; length: number }> {
  const before = disk.bytesOf(lastSegment(disk)).slice();
  expect(await appendKeys(one.journal, ['torn-a', 'torn-b'])).toBe(true);
  const path = lastSegment(disk);
  const after = disk.bytesOf(path);
  let first = -1;
  let last = -1;
  for (let at = 0; at < after.byteLength; at++)
    if (after[at] !== before[at]) {
      if (first === -1) first = at;
      last = at;
    }
  const offset = first - (first % 8);
  const length = new DataView(after.buffer, after.byteOffset + offset).getUint32(8, true);
  expect(last).toBeLessThan(offset + length);
  return { path, offset, length };
}

for (const kind of ['fresh', 'recycled'] as const) {
  test(`a last frame torn at every byte, in a ${kind} segment, is cut off and nothing else`, async () => {
    let disk = newDisk();
    const one = kind === 'fresh' ? reopen(disk) : await untilRecycled(disk);
    expect(await appendKeys(one.journal, ['kept-1', 'kept-2'])).toBe(true);
    const keptSeq = one.journal.durableSeq();
    const formerLife = disk.bytesOf(lastSegment(disk)).slice();
    const { path, offset, length } = await lastFrame(disk, one);
    expect(formerLife.subarray(offset, offset + length).some((byte) => byte !== 0)).toBe(kind === 'recycled');
    const whole = disk.bytesOf(path).slice();
    disk = disk.processCrash();

    for (let cut = 0; cut <= length; cut++) {
      // What the disk holds when only the first `cut` bytes of the write arrived: behind them stands a former life.
      const bytes = disk.bytesOf(path);
      bytes.set(whole);
      bytes.set(formerLife.subarray(offset + cut, offset + length), offset + cut);
      const isWhole = Buffer.compare(bytes, whole) === 0;
      const again = open(disk);
      const expected = isWhole ? keptSeq + 2 : keptSeq;
      expect([cut, again.journal.durableSeq()]).toEqual([cut, expected]);
      expect(knows(again.journal, 'kept-2')).toBe(true);
      expect(knows(again.journal, 'torn-b')).toBe(isWhole);
      expect(readKeys(disk, expected, keptSeq - 2)).toEqual([
        'kept-1',
        'kept-2',
        ...(isWhole ? ['torn-a', 'torn-b'] : []),
      ]);
      if (cut % 16 === 0) {
        // The place of the torn frame is written again, by a shorter one.
        expect(await appendKeys(again.journal, ['new'])).toBe(true);
        expect(readKeys(disk, expected + 1, expected)).toEqual(['new']);
      }
      await again.journal.close();
      disk = disk.processCrash();
    }
  }, 60_000);
}

test('a torn frame is logged, a clean end is not', async () => {
  let disk = newDisk();
  const one = reopen(disk);
  await appendKeys(one.journal, ['a']);
  const { path, offset, length } = await lastFrame(disk, one);
  disk = disk.processCrash();
  disk.bytesOf(path).fill(0, offset + length - 20, offset + length);
  expect(open(disk).logged.join()).toContain('never acknowledged');
  expect(open(disk.processCrash()).logged.join()).toContain('never acknowledged');
});

test('one flipped bit in front of intact frames refuses to start and names the place; nothing is changed', async () => {
  const disk = newDisk();
  const one = reopen(disk);
  for (const key of ['a', 'b', 'c', 'd']) await appendKeys(one.journal, [key]);
  const path = lastSegment(disk);
  const bytes = disk.bytesOf(path);
  const frameLength = new DataView(bytes.buffer, bytes.byteOffset + 4096).getUint32(8, true);
  const pristine = bytes.slice();
  const crashed = disk.processCrash();
  for (let at = 4096; at < 4096 + frameLength; at += 7) {
    crashed.bytesOf(path).set(pristine);
    (crashed.bytesOf(path) as Uint8Array)[at] = (pristine[at] as number) ^ 0x10;
    const bitten = crashed.bytesOf(path).slice();
    let refusal: unknown;
    try {
      open(crashed);
    } catch (error) {
      refusal = error;
    }
    expect(refusal).toBeInstanceOf(JournalRefusal);
    expect((refusal as JournalRefusal).code).toBe('damaged');
    expect((refusal as JournalRefusal).file).toBe(path);
    expect((refusal as JournalRefusal).offset).toBe(4096);
    expect((refusal as JournalRefusal).message).toContain('weir doctor');
    expect(Buffer.compare(crashed.bytesOf(path), bitten)).toBe(0);
  }
});

test('a flipped bit in the last frame of a sealed segment is damage, not a torn tail', async () => {
  const disk = newDisk();
  const one = reopen(disk);
  for (let at = 0; at < 100; at++) await appendKeys(one.journal, [`k-${at}`], 'x'.repeat(1_000));
  const folder = journalFolder(disk);
  const [sealed] = disk
    .list(folder)
    .filter((name) => name.endsWith('.segment'))
    .sort();
  const path = `${folder}/${sealed}`;
  const crashed = disk.processCrash();
  const bytes = crashed.bytesOf(path);
  let offset = 4096;
  for (let next = offset; ; next += new DataView(bytes.buffer, bytes.byteOffset + next).getUint32(8, true)) {
    if (new DataView(bytes.buffer, bytes.byteOffset + next).getUint32(8, true) === 0) break;
    offset = next;
    if (next + 2_000 > SEGMENT_BYTES) break;
  }
  bytes[offset + 60] = (bytes[offset + 60] as number) ^ 1;
  expect(() => open(crashed)).toThrow(/damaged.*cannot be read, but segment 2 begins/);
});

test('after a sync that failed nobody is acknowledged, nothing is tried again, and recovery decides', async () => {
  const disk = newDisk();
  const one = reopen(disk);
  expect(await appendKeys(one.journal, ['before'])).toBe(true);
  // The two spare segments that are made in the background sync too.
  while (one.journal.state().segments < 3) await Bun.sleep(1);
  disk.failSyncs();
  const syncs = disk.syncs();
  const waiting = [appendKeys(one.journal, ['during-1']), appendKeys(one.journal, ['during-2'])];
  expect(await Promise.all(waiting)).toEqual([false, false]);
  expect(disk.syncs()).toBe(syncs + 1);
  expect(one.failures).toHaveLength(1);
  expect(one.journal.state().state).toBe('failed');
  expect(one.journal.noRoom(10, 1)?.code).toBe('journal_failed');
  expect(await appendKeys(one.journal, ['after'])).toBe(false);
  expect(disk.syncs()).toBe(syncs + 1);
  expect(one.journal.durableSeq()).toBe(1);

  // The page cache still has the frame, the disk has not: it counts only once it was written and synced again.
  const restarted = disk.processCrash();
  const again = reopen(restarted);
  expect(again.journal.durableSeq()).toBe(3);
  expect(restarted.syncs()).toBeGreaterThan(0);
  const afterCut = restarted.powerCut(() => 0);
  expect(reopen(afterCut).journal.durableSeq()).toBe(3);
});

test('a duplicate that comes while the first copy waits for its sync waits with it, and shares its failure', async () => {
  const disk = newDisk();
  const slow = {
    wallMs: Date.now,
    monotonicMs: (() => {
      let ms = 0;
      return () => (ms += 50);
    })(),
  };
  const one = reopen(disk, { clock: slow });
  expect(await appendKeys(one.journal, ['warm'])).toBe(true);
  expect(one.journal.state().syncMode).toBe('pool');
  const resume = disk.holdSyncs();
  let firstSettled = false;
  const first = appendKeys(one.journal, ['first']).then((durable) => {
    firstSettled = true;
    return durable;
  });
  await Bun.sleep(5);
  const id = new Uint32Array(4);
  one.journal.hash('first', id);
  const seq = one.journal.find(id);
  expect(seq).toBe(2);
  expect(one.journal.durableSeq()).toBe(1);
  expect(firstSettled).toBe(false);
  const duplicate = one.journal.durableOf(seq);
  disk.failSyncs();
  resume();
  expect(await Promise.all([first, duplicate])).toEqual([false, false]);
  expect(one.journal.durableSeq()).toBe(1);
});

for (const [name, days] of [
  ['forward', 1],
  ['back', -1],
] as const) {
  test(`a wall clock that jumps a day ${name} changes nothing while the journal is open, and keeps frame times in order`, async () => {
    let disk = newDisk();
    let wall = Date.UTC(2026, 0, 10);
    let monotonic = 0;
    const clock = { wallMs: () => wall, monotonicMs: () => monotonic };
    const one = reopen(disk, { clock });
    await appendKeys(one.journal, ['a']);
    wall += days * 86_400_000;
    monotonic += 60_000;
    await appendKeys(one.journal, ['b']);
    // While it runs, the jump changes nothing.
    expect([knows(one.journal, 'a'), knows(one.journal, 'b')]).toEqual([true, true]);
    await one.journal.close();
    disk = disk.processCrash();
    const again = reopen(disk, { clock });
    expect(again.logged.some((line) => line.includes('clock'))).toBe(true);
    // Forward: a day has passed as far as anybody can tell. Back: the last frame's time goes on.
    expect(knows(again.journal, 'b')).toBe(name === 'back');
    expect(await appendKeys(again.journal, ['c'])).toBe(true);
    expect(readKeys(disk, 3)).toEqual(['a', 'b', 'c']);
    expect(knows(again.journal, 'c')).toBe(true);
  });
}
