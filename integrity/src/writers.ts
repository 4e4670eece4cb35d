/** Several clients at once: what every run under load is made of. */
import { createCopies } from './copies.ts';
import type { Ledger } from './ledger.ts';
import type { Seeded } from './seeded.ts';
import { createSeeded } from './seeded.ts';
import { startHttpWriter, type WriterOptions } from './writer-http.ts';
import { startSocketWriter } from './writer-socket.ts';

export interface Writers {
  /** Events that were answered for good so far. */
  acks(): number;
  /** Codes with which the service closed WebSockets. */
  closeCodes(): readonly number[];
  /** No new events; resolves once everything that was sent has its answer. */
  finish(): Promise<void>;
}

/**
 * For tests in which nothing may be refused. Half of a segment may wait for the disk: everything that these writers send before
 * they wait for answers fits, however long the disk stalls (`slow-sync.test.ts` lets it stall).
 */
export const ROOMY_SEGMENT_BYTES = 2 << 20;
const HTTP_WRITERS = 3;
const SOCKET_WRITERS = 2;
const PAUSE_MS_MAX = 15;

/** About 1,500 events a second from this process. They go on while the service is away; to several instances by turns. */
export function startWriters(
  url: string | readonly string[],
  ledger: Ledger,
  random: Seeded,
  options: Pick<WriterOptions, 'givesUp' | 'copiesShare' | 'fresh'> & { readonly prefix?: string } = {},
): Writers {
  const urls = typeof url === 'string' ? [url] : url;
  /** Writers that follow others in the same run need other names: their events' ids begin with them. */
  const prefix = options.prefix ?? '';
  const copies = createCopies(createSeeded(random.integer(0, 2 ** 31)), urls.length);
  let acks = 0;
  const common = (name: string): WriterOptions => ({
    ...options,
    urls,
    copies,
    ledger,
    name: `${options.prefix ?? ''}${name}`,
    random: createSeeded(random.integer(0, 2 ** 31)),
    pauseMsMax: PAUSE_MS_MAX,
    onAck: () => {
      acks += 1;
    },
  });
  const posting = Array.from({ length: HTTP_WRITERS }, (_, n) => startHttpWriter(common(`${prefix}http${n + 1}`)));
  const streaming = Array.from({ length: SOCKET_WRITERS }, (_, n) => startSocketWriter(common(`${prefix}ws${n + 1}`)));
  return {
    acks: () => acks,
    closeCodes: () => streaming.flatMap((writer) => writer.closeCodes()),
    finish: async () => void (await Promise.all([...posting, ...streaming].map((writer) => writer.finish()))),
  };
}
