/** The stream in front of a real accept and a real journal, on a disk that loses at a power cut what nobody synced. */
import { type IdHash, type Journal, listJournals, openJournalReader } from '@libs/journal';
import { DATA_FOLDER, newDisk, openOn, slowClock, type VolatileDisk } from '@libs/journal/testing';
import { createEventModel, DEFAULT_EVENT_LIMITS } from '@libs/models';
import { createAccept } from '../src/accept.ts';
import type { StreamLimits } from '../src/routes/stream.ts';
import { createStoredProgress } from '../src/stored-watch.ts';
import { startStream } from './stream-testing.ts';
import { validEvent } from './valid-event.ts';

const MODEL = createEventModel({ limits: DEFAULT_EVENT_LIMITS });
/** Syncs go to the thread pool, where they can be held. */
function openSlow(disk: VolatileDisk, onDurable: () => void): Journal {
  return openOn(disk, {
    limits: { segmentBytes: 1 << 20, bytesMax: 1 << 26 },
    onDurable,
    clock: slowClock(),
  }).journal;
}

export async function startRealStream(limits: Partial<StreamLimits> = {}) {
  const disk = newDisk();
  let atCommit: () => void = () => undefined;
  const journal = openSlow(disk, () => atCommit());
  const stored = createStoredProgress({ timeoutMs: 60_000, monotonicMs: () => performance.now(), onWait: () => {} });
  const accept = createAccept({ model: MODEL, journal, stored, wallMs: Date.now });
  const started = startStream(limits, { accept, journalId: journal.id });
  const hash: IdHash = new Uint32Array(4);
  // The first sync is inline.
  await accept([validEvent('first of all')], { ack: 'journal' });

  return {
    ...started,
    journal,
    disk,
    /** Called in the middle of every commit: what it holds is on the disk, and nobody has been told. */
    onCommit(listener: () => void) {
      atCommit = listener;
    },
    /** Whether a durable frame holds the event. */
    isDurable(eventId: string): boolean {
      const checked = MODEL.check(validEvent(eventId), { receivedAtMs: Date.now() });
      if (!checked.ok) throw new Error(checked.message);
      journal.hash(checked.key, hash);
      const seq = journal.find(hash);
      return seq !== 0 && seq <= journal.durableSeq();
    },
    /** How often each event stands on the disk after the power has failed. */
    async copiesAfterPowerCut(): Promise<Map<string, number>> {
      await started.stop();
      const after = disk.powerCut(Math.random);
      const reopened = openSlow(after, () => undefined);
      const copies = countRows(after, reopened.durableSeq());
      await reopened.close();
      return copies;
    },
    async stop() {
      await started.stop();
      await journal.close().catch(() => false);
    },
  };
}

function countRows(disk: VolatileDisk, durableSeq: number): Map<string, number> {
  const [folder] = listJournals(disk, DATA_FOLDER);
  const copies = new Map<string, number>();
  if (folder === undefined) return copies;
  const reader = openJournalReader(disk, folder);
  reader.noteDurable(durableSeq);
  for (let cursor = 0; ; ) {
    const frames = reader.read(cursor, { rowsMax: 10_000, bytesMax: 1 << 24 });
    const last = frames.at(-1);
    if (last === undefined) break;
    cursor = last.lastSeq;
    for (const frame of frames)
      for (const line of new TextDecoder().decode(frame.payload).split('\n').slice(0, -1)) {
        const { eventId } = JSON.parse(line) as { eventId: string };
        copies.set(eventId, (copies.get(eventId) ?? 0) + 1);
      }
  }
  reader.close();
  return copies;
}
