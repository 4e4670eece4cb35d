/** Delivery from the real journal, files and all, while it is being written. */
import { expect, test } from 'bun:test';
import { join } from 'node:path';
import {
  createDisk,
  type Journal,
  type JournalFolder,
  listJournals,
  openJournal,
  openJournalReader,
} from '@libs/journal';
import type { Sink } from '@libs/pipeline';
import { createFakeRouter } from './fake-router.ts';
import { createFakeStore, type FakeStore } from './fake-store.ts';
import { type Process, startProcess, until, withFolder } from './harness.ts';

const disk = createDisk();
const LIMITS = {
  segmentBytes: 64 * 1024,
  bytesMax: 4 * 1024 * 1024,
  diskReserveBytes: 0,
  windowMs: 3_600_000,
  idsMax: 100_000,
};

function openAt(folder: string, onDurable: (seq: number) => void): Journal {
  return openJournal({
    disk,
    dataFolder: folder,
    worker: 0,
    workers: 1,
    limits: LIMITS,
    log: () => undefined,
    onDurable,
    onFailed: (error) => {
      throw error;
    },
  });
}

function append(journal: Journal, count: number): string {
  const id = new Uint32Array(4);
  let text = '';
  for (let index = 0; index < count; index++) {
    const seq = journal.nextSeq();
    journal.hash(`s\0e${seq}`, id);
    journal.claim(id);
    text += `${JSON.stringify({ storeId: `s${seq % 3}`, eventType: 'item_added', journal: journal.id, seq })}\n`;
  }
  journal.append(text, count);
  return text;
}

function startOn(folder: string, store: FakeStore, more?: Sink): Process {
  const found = listJournals(disk, folder);
  const sinks = more === undefined ? [store.sink()] : [store.sink(), more];
  return startProcess({
    file: join(folder, 'state.sqlite'),
    sinks,
    readers: found.map((one) => openJournalReader(disk, one)),
    open: (journal) => openJournalReader(disk, found.find((one) => one.journal === journal) as JournalFolder),
    limits: { blockRowsMax: 200 },
  });
}

const segmentsOf = ({ folder }: JournalFolder): number =>
  disk.list(folder).filter((name) => name.endsWith('.segment')).length;

test(
  'rows written while deliver dies and comes back, over many segments, arrive once, in order and unchanged',
  () =>
    withFolder(async (folder) => {
      const store = createFakeStore();
      let running: Process | undefined;
      const journal = openAt(folder, (seq) => running?.delivery.nudge(journal.id, seq));
      running = startOn(folder, store);
      let written = '';
      for (let round = 0; round < 60; round++) {
        const count = 1 + ((round * 37) % 90);
        await until(() => journal.noRoom(count * 200, count) === undefined, 'the journal has room');
        written += append(journal, count);
        await until(() => journal.durableSeq() === journal.nextSeq() - 1, 'the rows are durable');
        if (round % 9 === 4)
          store.script.push({ do: 'hang', stored: (['all', 'half', 'token', 'none'] as const)[round % 4] ?? 'none' });
        if (round % 9 === 8) {
          await running.kill();
          expect(running.fatal).toEqual([]);
          store.script.length = 0;
          running = startOn(folder, store);
          running.delivery.nudge(journal.id, journal.durableSeq());
        }
        for (const { journal: id, seq } of running.delivery.releases()) journal.release(id, seq);
      }
      store.script.length = 0;
      await running.kill();
      running = startOn(folder, store);
      running.delivery.nudge(journal.id, journal.durableSeq());
      await until(() => running?.delivery.releases()[0]?.seq === journal.durableSeq(), 'everything is delivered');
      expect(journal.state().segments).toBeGreaterThan(1);
      await running.stop();
      await journal.close();

      expect(store.rows).toEqual(
        new Map(Array.from({ length: journal.durableSeq() }, (_, index) => [`${journal.id}:${index + 1}`, 1])),
      );
      const firstOfEach = new Map(store.writes.map(({ firstSeq, text }) => [firstSeq, text]));
      expect(
        [...firstOfEach]
          .sort(([a], [b]) => a - b)
          .map(([, text]) => text)
          .join(''),
      ).toBe(written);
    }),
  30_000,
);

test(
  'segments that are recycled behind a sink which nobody nudges do not stall it',
  () =>
    withFolder(async (folder) => {
      const store = createFakeStore();
      const journal = openAt(folder, () => undefined);
      const [found] = listJournals(disk, folder);
      const running = startProcess({
        file: join(folder, 'state.sqlite'),
        sinks: [store.sink()],
        readers: [openJournalReader(disk, found as JournalFolder)],
        // A block for each frame: some block ends where a segment does.
        limits: { blockRowsMax: 1 },
      });
      for (let round = 0; round < 40; round++) {
        await until(() => journal.noRoom(80 * 200, 80) === undefined, 'the journal has room');
        append(journal, 80);
        await until(() => {
          journal.release(journal.id, running.delivery.releases()[0]?.seq ?? 0);
          return store.rows.size >= round * 80 && segmentsOf(found as JournalFolder) === 1;
        }, 'all but the last frame is delivered, and every segment but the active one recycled');
      }
      running.delivery.nudge(journal.id, journal.durableSeq());
      await until(() => store.rows.size === 40 * 80, 'everything is delivered');
      await running.stop();
      await journal.close();
    }),
  30_000,
);

test(
  'bad rows in the middle of frames are found in a journal that is read by frames, also after kills, and the sums add up',
  () =>
    withFolder(async (folder) => {
      const store = createFakeStore();
      const router = createFakeRouter();
      const journal = openAt(folder, () => undefined);
      for (let frame = 0; frame < 6; frame++) {
        append(journal, 70);
        await until(() => journal.durableSeq() === journal.nextSeq() - 1, 'the rows are durable');
      }
      const poison = [1, 69, 70, 71, 105, 140, 209, 420];
      for (const seq of poison) store.poison.add(seq);
      router.refused.add(33).add(34);
      router.flaky.set(300, 3);
      let running = startOn(folder, store, router.sink);
      const nudge = (): void => running.delivery.nudge(journal.id, journal.durableSeq());
      nudge();
      for (const letters of [2, 5]) {
        const count = () => running.delivery.deadLetters.list({ sink: 'store', limit: 20 }).length;
        await until(() => count() >= letters, 'some letters are there');
        await running.kill();
        running = startOn(folder, store, router.sink);
        nudge();
      }
      const isDone = () => running.delivery.releases()[0]?.seq === journal.durableSeq();
      await until(isDone, 'everything is done');
      const range = { fromMs: 0, toMs: Date.now() + 3_600_000 };
      const sums = await running.delivery.reconcile(range, new AbortController().signal);
      const figures = { acknowledged: 420, deleted: 0, pending: 0 };
      expect(sums).toMatchObject({ uncountedEvents: 0, addsUp: true });
      expect(sums.rows).toEqual([
        {
          eventType: 'item_added',
          acknowledged: 420,
          perSink: {
            store: { ...figures, done: 412, deadLettered: 8 },
            kafka: { ...figures, done: 418, deadLettered: 2 },
          },
        },
      ]);
      expect(running.fatal).toEqual([]);
      await running.stop();
      await journal.close();
      for (let seq = 1; seq <= 420; seq++) {
        expect([seq, store.rows.get(`${journal.id}:${seq}`) ?? 0]).toEqual([seq, poison.includes(seq) ? 0 : 1]);
      }
    }),
  30_000,
);
