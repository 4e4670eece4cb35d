/** A process that opens WebSockets and does nothing with them until it is ended or its parent is gone. */
import { openWebSocket } from './lanes.ts';

export interface IdleJob {
  readonly host: string;
  readonly port: number;
  readonly sockets: number;
}

export type IdleMessage =
  | { readonly type: 'opened' }
  | { readonly type: 'lost'; readonly sockets: number }
  | { readonly type: 'failed'; readonly message: string };

/** Handshakes under way at a time: less than what a listening socket queues. */
const AT_A_TIME = 100;

function report(message: IdleMessage): void {
  process.send?.(message);
}

async function openAll(job: IdleJob): Promise<void> {
  const lost = () => report({ type: 'lost', sockets: 1 });
  for (let opened = 0; opened < job.sockets; opened += AT_A_TIME) {
    const count = Math.min(AT_A_TIME, job.sockets - opened);
    await Promise.all(Array.from({ length: count }, () => openWebSocket(job, { data() {}, lost })));
  }
}

process.on('disconnect', () => process.exit(1));

openAll(JSON.parse(process.argv[2] ?? '{}') as IdleJob).then(
  () => report({ type: 'opened' }),
  (error: unknown) => report({ type: 'failed', message: error instanceof Error ? error.message : String(error) }),
);
