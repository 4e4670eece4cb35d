/** Load at a chosen rate: several sessions, each of which posts one batch after the other. */
import { createEventMaker } from './events.ts';
import { createHttpClient } from './http-client.ts';
import type { Ledger } from './ledger.ts';
import { createSeeded, type Seeded } from './seeded.ts';

export interface PacedLoad {
  /** Events that were accepted so far. */
  accepted(): number;
  /** Resolves once every batch has its answer. */
  finish(): Promise<void>;
}

export interface PacedLoadOptions {
  readonly url: string;
  readonly ledger: Ledger;
  readonly random: Seeded;
  readonly eventsPerSecond: number;
}

const SESSIONS = 8;
const BATCH_EVENTS_MAX = 200;
const PAUSE_MS = 20;
const RETRY_PAUSE_MS = 100;

/** A session that falls behind catches up with larger batches; past `BATCH_EVENTS_MAX` it does not. */
export function startPacedLoad({ url, ledger, random, eventsPerSecond }: PacedLoadOptions): PacedLoad {
  let accepted = 0;
  let finishing = false;
  const perMs = eventsPerSecond / SESSIONS / 1_000;

  async function run(name: string, seeded: Seeded): Promise<void> {
    const client = createHttpClient(url, ledger);
    const maker = createEventMaker(seeded, name, name);
    let sent = 0;
    for (const startMs = performance.now(); !finishing; await Bun.sleep(PAUSE_MS)) {
      const due = Math.floor((performance.now() - startMs) * perMs) - sent;
      const events = Array.from({ length: Math.min(due, BATCH_EVENTS_MAX) }, maker.good);
      sent += events.length;
      for (let open = events; open.length > 0; ) {
        const answers = await client.batch(open, 'lines');
        open = open.filter((_, at) => answers[at] === undefined || answers[at].kind === 'retry');
        if (open.length > 0) await Bun.sleep(RETRY_PAUSE_MS);
      }
      accepted += events.length;
    }
  }

  const sessions = Array.from({ length: SESSIONS }, (_, n) =>
    run(`paced${n + 1}`, createSeeded(random.integer(0, 2 ** 31))),
  );
  return {
    accepted: () => accepted,
    async finish() {
      finishing = true;
      await Promise.all(sessions);
    },
  };
}
