/**
 * Lives of one journal on a disk that forgets: rows are appended, delivered and released, the process dies or the power
 * is cut, and what the next life finds is held against what was promised. Used with the real rules, and with one of
 * them switched off to see that the check notices.
 */
import {
  type Disk,
  type FrameView,
  type IdHash,
  type Journal,
  listJournals,
  openJournal,
  openJournalReader,
} from '@libs/journal';
import { createVolatileDisk, type VolatileDisk } from '@libs/journal/testing';
import type { Seeded } from './seeded.ts';

export type Mutation = 'none' | 'sync' | 'salt' | 'durable_position';

export interface LifeReport {
  /** Broken promises, as sentences. Empty: all were kept. */
  readonly broken: readonly string[];
  readonly acknowledged: number;
  readonly delivered: number;
  readonly recycled: boolean;
}

const DATA = '/data';
const SEGMENT_BYTES = 64 * 1024;
const LIMITS = {
  segmentBytes: SEGMENT_BYTES,
  bytesMax: 64 * SEGMENT_BYTES,
  diskReserveBytes: 0,
  windowMs: 3_600_000,
  idsMax: 1_000_000,
};
/** A life may end by the death of its process alone: the next one then reads what only the page cache holds. */
const POWER_CUTS = 0.6;

/** Runs `lives` lives of about `steps` steps each. */
export async function liveOn(
  random: Seeded,
  options: { lives: number; steps: number; mutation: Mutation },
): Promise<LifeReport> {
  const broken: string[] = [];
  /** What an acknowledged sequence number must hold: its row's text. */
  const promised = new Map<number, string>();
  const delivered = new Map<number, string>();
  /** The key that a promised sequence number was given to, and every key that was ever claimed in the last life. */
  const keys = new Map<number, string>();
  const claimed = new Map<number, string>();
  let disk: VolatileDisk = createVolatileDisk();
  disk.makeFolder(DATA);
  let cursor = 0;
  let segments = 0;
  let recycled = false;
  let lastSalt = 1n;

  for (let life = 0; life < options.lives && broken.length === 0; life++) {
    const current = disk;
    const isSlow = random.next() < 0.6;
    let opening = true;
    const seen = options.mutation === 'sync' ? withoutSync(current, () => !opening) : current;
    let journal: Journal;
    try {
      journal = openJournal({
        disk: seen,
        dataFolder: DATA,
        worker: 0,
        workers: 1,
        limits: LIMITS,
        log: () => undefined,
        ...(isSlow ? { clock: slowClock() } : {}),
        onDurable: () => undefined,
        onFailed(error) {
          if (disk === current) broken.push(`life ${life}: the journal failed: ${error.message}`);
        },
        newSalt: () => (options.mutation === 'salt' ? 1n : (++lastSalt * 0x9e3779b97f4a7c15n) % 2n ** 64n),
      });
    } catch (error) {
      broken.push(`life ${life}: the journal cannot be opened: ${(error as Error).message}`);
      break;
    }
    opening = false;
    const reader = openJournalReader(current, listJournals(current, DATA)[0] as never);
    check(journal, reader.journal);
    await live(journal, life);
    disk = random.next() < POWER_CUTS ? current.powerCut(random.next) : current.processCrash();
    // Ends its timer; whether it can flush is nobody's business any more.
    void journal.close().catch(() => undefined);
    function check(opened: Journal, id: string): void {
      reader.noteDurable(opened.durableSeq());
      for (const seq of promised.keys())
        if (seq > opened.durableSeq()) broken.push(`life ${life}: event ${seq} of ${id} was acknowledged and is gone`);
      if (cursor > opened.durableSeq())
        broken.push(
          `life ${life}: the cursor ${cursor} runs ahead of the journal, which ends at ${opened.durableSeq()}`,
        );
      // An id counts as seen exactly when a durable frame holds it.
      const hash: IdHash = new Uint32Array(4);
      for (const [seq, key] of claimed) {
        opened.hash(key, hash);
        const found = opened.find(hash);
        if (promised.has(seq) && found !== seq)
          broken.push(`life ${life}: the id of event ${seq} is not known any more`);
        if (found > opened.durableSeq()) broken.push(`life ${life}: the id of event ${seq} is known without its event`);
      }
      claimed.clear();
      for (const seq of promised.keys()) claimed.set(seq, keys.get(seq) as string);
    }

    async function live(opened: Journal, number: number): Promise<void> {
      const steps = random.integer(1, options.steps);
      const waiting: Promise<void>[] = [];
      for (let step = 0; step < steps; step++) {
        const choice = random.next();
        if (choice < 0.7) waiting.push(append(opened, number, random.integer(1, 8)));
        else if (choice < 0.8) deliver(opened);
        else if (choice < 0.9 && cursor > 0) opened.release(opened.id, cursor);
        else await turn();
        if (random.next() < 0.3) await turn();
        if (opened.state().segments < segments) recycled = true;
        segments = opened.state().segments;
      }
      if (random.next() < 0.3) await Promise.race([Promise.all(waiting), turn()]);
    }

    /** The promise that a client would have: what it was told before the power went. */
    async function append(opened: Journal, number: number, count: number): Promise<void> {
      const id: IdHash = new Uint32Array(4);
      const first = opened.nextSeq();
      let text = '';
      const rows: string[] = [];
      const filler = 'x'.repeat(random.integer(0, 1_500));
      for (let at = 0; at < count; at++) {
        const row = `{"storeId":"s","eventType":"t","life":${number},"seq":${first + at},"filler":"${filler}"}\n`;
        if (opened.noRoom(text.length + row.length, at + 1) !== undefined) break;
        const key = `s\0${number}-${first + at}`;
        opened.hash(key, id);
        claimed.set(opened.claim(id), key);
        rows.push(row);
        text += row;
      }
      if (rows.length === 0) return;
      if (!(await opened.append(text, rows.length))) return;
      for (const [at, row] of rows.entries()) {
        promised.set(first + at, row);
        keys.set(first + at, `s\0${number}-${first + at}`);
      }
    }

    function deliver(opened: Journal): void {
      if (options.mutation === 'durable_position') reader.noteDurable(Number.MAX_SAFE_INTEGER);
      else if (random.next() < 0.5) reader.noteDurable(opened.durableSeq());
      let frames: readonly FrameView[] = [];
      try {
        frames = reader.read(cursor, { rowsMax: 50, bytesMax: 32 * 1024 });
      } catch (error) {
        broken.push(`delivery stops: ${(error as Error).message}`);
      }
      for (const frame of frames) {
        const rows = new TextDecoder().decode(frame.payload).split('\n').slice(0, -1);
        for (const [at, row] of rows.entries()) delivered.set(frame.firstSeq + at, `${row}\n`);
        cursor = frame.lastSeq;
      }
    }
  }

  if (broken.length === 0) finish();
  return { broken, acknowledged: promised.size, delivered: delivered.size, recycled };

  /** At the end everything that was promised is delivered, each once and byte for byte. */
  function finish(): void {
    const journal = openJournal({
      disk,
      dataFolder: DATA,
      worker: 0,
      workers: 1,
      limits: LIMITS,
      log: () => undefined,
      onDurable: () => undefined,
      onFailed: () => undefined,
    });
    if (cursor > journal.durableSeq()) {
      broken.push(`the cursor ${cursor} runs ahead of the journal, which ends at ${journal.durableSeq()}`);
      return;
    }
    const reader = openJournalReader(disk, listJournals(disk, DATA)[0] as never);
    reader.noteDurable(journal.durableSeq());
    for (
      let frames = reader.read(cursor, { rowsMax: 500, bytesMax: 1 << 20 });
      frames.length > 0;
      frames = reader.read(cursor, { rowsMax: 500, bytesMax: 1 << 20 })
    )
      for (const frame of frames) {
        const rows = new TextDecoder().decode(frame.payload).split('\n').slice(0, -1);
        if (rows.length !== frame.lastSeq - frame.firstSeq + 1)
          broken.push(`the frame of event ${frame.firstSeq} has ${rows.length} rows`);
        for (const [at, row] of rows.entries()) delivered.set(frame.firstSeq + at, `${row}\n`);
        cursor = frame.lastSeq;
      }
    for (const [seq, row] of promised) {
      if (!delivered.has(seq)) broken.push(`event ${seq} was acknowledged and never delivered`);
      else if (delivered.get(seq) !== row)
        broken.push(`event ${seq} was delivered with other bytes than were acknowledged`);
    }
    void journal.close().catch(() => undefined);
  }
}

/** Every sync seems to take 20 ms, so that they go to the pool and the loop runs on while one is under way. */
function slowClock() {
  let nowMs = 0;
  return { wallMs: Date.now, monotonicMs: () => (nowMs += 20) };
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function withoutSync(disk: Disk, isOff: () => boolean): Disk {
  return {
    ...disk,
    sync: (fd) => (isOff() ? undefined : disk.sync(fd)),
    syncAsync: (fd, done) => (isOff() ? void setImmediate(() => done(null)) : disk.syncAsync(fd, done)),
  };
}
