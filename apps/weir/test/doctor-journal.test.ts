import { describe, expect, test } from 'bun:test';
import { mkdir, mkdtemp, open, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openState } from '@libs/delivery';
import { createDisk, listJournals, openJournal } from '@libs/journal';
import { acquireLock } from '@libs/runtime';
import { checkJournals } from '../src/doctor/journal-check.ts';
import { eventOf } from '../src/doctor/journal-cut.ts';
import { runCli } from './run-cli.ts';

const LIMITS = {
  segmentBytes: 64 * 1024,
  bytesMax: 4 * 1024 * 1024,
  diskReserveBytes: 0,
  windowMs: 3_600_000,
  idsMax: 10_000,
};
const FRAMES = 5;
const ROWS_PER_FRAME = 3;

const eventText = (number: number) => `{"storeId":"s","eventId":"e${number}","data":{"price":1.00},"metadata":{}}`;

/** A data folder with one journal of 15 events, written by the real journal and closed. */
async function withJournal(work: (folder: string, journal: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'weir-doctor-journal-'));
  try {
    await mkdir(join(folder, 'deliver'));
    const failures: Error[] = [];
    const journal = openJournal({
      disk: createDisk(),
      dataFolder: folder,
      worker: 0,
      workers: 1,
      limits: LIMITS,
      log: () => undefined,
      onDurable: () => undefined,
      onFailed: (error) => failures.push(error),
    });
    const id = new Uint32Array(4);
    for (let frame = 0; frame < FRAMES; frame++) {
      let text = '';
      for (let row = 0; row < ROWS_PER_FRAME; row++) {
        const seq = journal.nextSeq();
        journal.hash(`s\0e${seq}`, id);
        journal.claim(id);
        text += `${eventText(seq).slice(0, -1)},"receivedAt":"2026-01-01T00:00:00.000Z","journal":"${journal.id}","seq":${seq}}\n`;
      }
      const durable = journal.append(text, ROWS_PER_FRAME);
      await durable;
      while (journal.durableSeq() < journal.nextSeq() - 1) await Bun.sleep(1);
    }
    await journal.close();
    expect(failures).toEqual([]);
    await work(folder, journal.id);
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** Flips one byte in the row of an event. */
async function damage(folder: string, eventNumber: number): Promise<void> {
  const [journal] = listJournals(createDisk(), folder);
  const names = (await readdir(journal?.folder ?? '')).filter((name) => name.endsWith('.segment'));
  for (const name of names) {
    const path = join(journal?.folder ?? '', name);
    const at = Buffer.from(await Bun.file(path).bytes()).indexOf(`"e${eventNumber}"`);
    if (at < 0) continue;
    const file = await open(path, 'r+');
    await file.write(Buffer.from('X'), 0, 1, at + 1);
    await file.close();
    return;
  }
  throw new Error('the event is in no segment');
}

const doctor = (folder: string, ...args: string[]) =>
  runCli(['doctor', '--json', '--data-dir', folder, '--url', 'http://127.0.0.1:1', ...args]);

describe('journals', () => {
  test('a sound one says what it holds, one in use is left alone', () =>
    withJournal(async (folder, journal) => {
      expect(await checkJournals(folder)).toMatchObject([{ name: journal, state: 'ok' }]);
      expect((await checkJournals(folder))[0]?.message).toContain('15 events (1 to 15)');
      const lock = await acquireLock(join(folder, 'journals', 'w0.lock'), { waitMs: 0, label: 'the journal' });
      // A lock is per process, so the one that asks must be another one.
      const { out } = await doctor(folder);
      lock.release();
      const findings = JSON.parse(out).findings.filter(({ area }: { area: string }) => area === 'journal');
      expect(findings).toMatchObject([{ name: journal, state: 'info', message: expect.stringContaining('in use') }]);
    }));

  test('a damaged one names file, byte and the choices, and is cut only when asked to', () =>
    withJournal(async (folder, journal) => {
      await damage(folder, 5);
      const sick = await doctor(folder);
      expect(sick.exitCode).toBe(1);
      const failures = JSON.parse(sick.out).findings.filter(
        ({ area, state }: { area: string; state: string }) => area === 'journal' && state === 'failure',
      );
      expect(failures[0].message).toMatch(/\.segment, byte \d+: .*; 9 events in 3 intact frames behind it/);
      expect(failures.at(-1).remedy).toContain(`weir doctor --cut ${journal} --save`);

      const save = join(folder, 'saved.ndjson');
      const cut = await doctor(folder, '--cut', journal, '--save', save);
      expect(cut.err).toBe('');
      expect(cut.exitCode).toBe(0);
      expect(JSON.parse(cut.out)).toMatchObject({ journal, savedEvents: 9 });
      const saved = (await Bun.file(save).text()).trim().split('\n');
      expect(saved).toEqual(Array.from({ length: 9 }, (_, index) => eventText(index + 7)));
      expect((await readdir(JSON.parse(cut.out).setAside)).length).toBeGreaterThan(0);
      const [after] = await checkJournals(folder);
      expect(after).toMatchObject({ state: 'ok' });
      expect(after?.message).toContain('3 events (1 to 3)');
      expect(after?.message).toContain('retired');
    }));

  test('what was delivered from behind the damage is not saved, and the cursor stands at the new end', () =>
    withJournal(async (folder, journal) => {
      const file = join(folder, 'deliver', 'state.sqlite');
      const before = openState(file);
      before.createCursor({ journal, sink: 'store', seq: 12 });
      before.cutBlock({ journal, sink: 'store', firstSeq: 13, lastSeq: 15, byteLength: 1, token: 't' });
      before.close();
      await damage(folder, 5);
      const save = join(folder, 'saved.ndjson');
      const cut = await doctor(folder, '--cut', journal, '--save', save);
      expect(JSON.parse(cut.out)).toMatchObject({ journal, savedEvents: 3 });
      expect((await Bun.file(save).text()).trim().split('\n')).toEqual([13, 14, 15].map(eventText));
      const after = openState(file);
      expect(after.cursors()).toEqual([{ journal, sink: 'store', seq: 3 }]);
      expect(after.findBlock(journal, 'store')).toBeUndefined();
      after.close();
    }));

  test('after a restore the journals are retired, so that the next start begins new ones', () =>
    withJournal(async (folder, journal) => {
      const restored = await doctor(folder, '--restored');
      expect(JSON.parse(restored.out)).toEqual({ retired: [journal] });
      expect(listJournals(createDisk(), folder)).toMatchObject([{ journal, worker: undefined }]);
      expect(JSON.parse((await doctor(folder, '--restored')).out)).toEqual({ retired: [] });
    }));

  test('nothing is cut that is sound, unknown, in use, or whose events cannot be saved', () =>
    withJournal(async (folder, journal) => {
      const save = join(folder, 'saved.ndjson');
      const codeOf = async (...args: string[]) => JSON.parse((await doctor(folder, ...args)).err).error;
      expect(await codeOf('--cut', journal, '--save', save)).toBe('not_damaged');
      expect(await codeOf('--cut', 'other', '--save', save)).toBe('no_such_journal');
      expect(await codeOf('--cut', journal)).toBe('incomplete_cut');
      await damage(folder, 5);
      await Bun.write(save, 'mine');
      expect(await codeOf('--cut', journal, '--save', save)).toBe('unwritable_save');
      const lock = await acquireLock(join(folder, 'deliver', 'lock'), { waitMs: 0, label: 'deliver' });
      expect(await codeOf('--cut', journal, '--save', `${save}2`)).toBe('in_use');
      lock.release();
      expect(await Bun.file(save).text()).toBe('mine');
      expect((await checkJournals(folder)).some(({ state }) => state === 'failure')).toBe(true);
    }));
});

test('the event of a row is the row without what the server added', () => {
  const added = ',"receivedAt":"2026-01-01T00:00:00.000Z","journal":"0","seq":12}';
  expect(eventOf(`{"eventId":"a","data":{"n":1e2}${added}`)).toBe('{"eventId":"a","data":{"n":1e2}}');
  expect(eventOf(`{"eventId":"a","data":{},"sanitized":true${added}`)).toBe('{"eventId":"a","data":{}}');
});
