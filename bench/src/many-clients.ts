/**
 * A process that holds many WebSockets, each of which sends a message from time to time and comes back when it is cut off:
 * when the service says (`retryAfterMs`), else after a random time that grows. It ends with its parent.
 */
import { createIdStamp, eventText, ID_OFFSET, newNonce } from './events.ts';
import { dial, type Failure, type ManyConnection } from './many-connection.ts';
import {
  type Attempts,
  type ManyJob,
  type ManyMessage,
  type ManyOrder,
  NO_ATTEMPTS,
  type Pace,
  STATE_INTERVAL_MS,
} from './many-job.ts';
import { createRandom } from './random.ts';
import { clientFrame } from './ws-frames.ts';

interface Client {
  readonly localAddress: string;
  connection: ManyConnection | undefined;
  isOpen: boolean;
  /** When the event was sent that has no answer yet; 0: there is none. */
  sentAtMs: number;
  acks: number;
  failuresInRow: number;
  retryAfterMs: number | undefined;
}

/** Handshakes under way at a time as they are opened first; when they come back, each comes when it will. */
const AT_A_TIME = 128;
/** Of the 28,000 ports that an address has: the kernel looks for a free one by trial, ever longer the more are taken. */
const SOCKETS_PER_ADDRESS = 2_000;
const TICK_MS = 10;
const FRAMES = 512;
const BACKOFF_MIN_MS = 500;
const BACKOFF_MAX_MS = 10_000;
const BEFORE_EVENT = '{"type":"cart_event","payload":';
const ACK = Buffer.from('"type":"event_ack"');
const RECEIVED = Buffer.from('"status":"received"');
const HEARTBEAT_ACK = Buffer.from('"type":"heartbeat_ack"');
/** The type stands first in every text. */
const TYPE_BYTES = 32;

function startClients(job: ManyJob): void {
  const clients: Client[] = Array.from({ length: job.sockets }, (_, at) => ({
    localAddress: `127.0.${job.number + 1}.${Math.floor(at / SOCKETS_PER_ADDRESS) + 1}`,
    connection: undefined,
    isOpen: false,
    sentAtMs: 0,
    acks: 0,
    failuresInRow: 0,
    retryAfterMs: undefined,
  }));
  const random = createRandom(job.seed);
  const nextEvent = createFrames(job.seed);
  const heartbeat = clientFrame(Buffer.from('{"type":"heartbeat"}'), 0).bytes;
  const counts = {
    latenciesMs: [] as number[],
    skipped: 0,
    refusals: {} as Record<string, number>,
    attempts: { ...NO_ATTEMPTS } as Attempts,
  };
  let wanted = 0;
  let started = 0;
  let dialling = 0;
  let open = 0;
  let told = '';
  let pace: Pace = 'heartbeats';
  let perMs = 0;
  let tickedMs = performance.now();
  let due = 0;
  let next = 0;

  function startMore(): void {
    for (; started < wanted && dialling < AT_A_TIME; started++) call(clients[started] as Client);
  }

  function call(client: Client): void {
    dialling += 1;
    client.connection = dial(job, client.localAddress, {
      opened() {
        dialling -= 1;
        open += 1;
        counts.attempts.opened += 1;
        client.isOpen = true;
        client.failuresInRow = 0;
        client.retryAfterMs = undefined;
        startMore();
      },
      text: (bytes, start, end) => hear(client, bytes, start, end),
      failed: (how) => lost(client, how),
    });
  }

  function lost(client: Client, how: Failure): void {
    counts.attempts[how] += 1;
    client.connection = undefined;
    client.sentAtMs = 0;
    if (client.isOpen) open -= 1;
    else dialling -= 1;
    client.isOpen = false;
    if (client.retryAfterMs !== undefined) counts.attempts.invited += 1;
    const backoffMs = Math.min(BACKOFF_MAX_MS, BACKOFF_MIN_MS * 2 ** client.failuresInRow);
    const delayMs = client.retryAfterMs ?? random.below(backoffMs);
    client.failuresInRow += 1;
    client.retryAfterMs = undefined;
    setTimeout(call, delayMs, client);
    startMore();
  }

  function hear(client: Client, bytes: Buffer, start: number, end: number): void {
    const type = bytes.subarray(start, Math.min(end, start + TYPE_BYTES));
    if (type.includes(HEARTBEAT_ACK)) return;
    const isAck = type.includes(ACK) && bytes.subarray(start, end).includes(RECEIVED);
    if (!isAck) other(client, JSON.parse(bytes.toString('utf8', start, end)));
    if (client.sentAtMs === 0) return;
    if (isAck) {
      client.acks += 1;
      counts.latenciesMs.push(Math.round((performance.now() - client.sentAtMs) * 100) / 100);
    }
    client.sentAtMs = 0;
  }

  function other(client: Client, { type, code, status, retryAfterMs }: Record<string, unknown>): void {
    const refusal = type === 'event_ack' ? String(status) : String(code);
    if (type === 'event_ack' || type === 'event_error') counts.refusals[refusal] = (counts.refusals[refusal] ?? 0) + 1;
    else if (typeof retryAfterMs === 'number') client.retryAfterMs = retryAfterMs;
  }

  function tick(): void {
    const nowMs = performance.now();
    // A machine that is busy holds timers up: what was due meanwhile is sent now.
    due += (nowMs - tickedMs) * perMs;
    tickedMs = nowMs;
    for (; due >= 1; due -= 1) {
      const client = clients[next] as Client;
      next = (next + 1) % clients.length;
      if (!client.isOpen) continue;
      if (pace === 'heartbeats') client.connection?.send(heartbeat);
      else if (client.sentAtMs > 0) counts.skipped += 1;
      else {
        client.sentAtMs = performance.now();
        client.connection?.send(nextEvent());
      }
    }
  }

  function report(): void {
    const { latenciesMs, skipped, refusals, attempts } = counts;
    tell({
      type: 'report',
      report: { acks: clients.map(({ acks }) => acks), latenciesMs, skipped, refusals, attempts },
    });
    for (const client of clients) client.acks = 0;
    Object.assign(counts, { latenciesMs: [], skipped: 0, refusals: {}, attempts: { ...NO_ATTEMPTS } });
  }

  function obey(order: ManyOrder): void {
    if (order.type === 'open') {
      wanted = order.sockets;
      startMore();
    } else if (order.type === 'report') report();
    else {
      pace = order.pace;
      perMs = clients.length / order.everyMs;
    }
  }

  process.on('message', (order) => obey(order as ManyOrder));
  setInterval(tick, TICK_MS);
  setInterval(() => {
    const unanswered = clients.reduce((sum, { sentAtMs }) => sum + (sentAtMs > 0 ? 1 : 0), 0);
    if (told === `${open} ${unanswered}`) return;
    told = `${open} ${unanswered}`;
    tell({ type: 'state', open, unanswered });
  }, STATE_INTERVAL_MS);
}

/** Frames with events that differ, each with a new id every time. With a mask of zeros the text stands as it is. */
function createFrames(seed: number): () => Uint8Array {
  const random = createRandom(seed);
  const stamp = createIdStamp();
  const options = { random, nowMs: Date.now(), nonce: newNonce(), titles: 'ascii' } as const;
  const frames = Array.from({ length: FRAMES }, () =>
    clientFrame(Buffer.from(`${BEFORE_EVENT}${eventText(options)}}`), 0),
  );
  let next = 0;
  return () => {
    const { bytes, payloadOffset } = frames[next] as (typeof frames)[number];
    next = (next + 1) % FRAMES;
    stamp.write(bytes, payloadOffset + BEFORE_EVENT.length + ID_OFFSET);
    return bytes;
  };
}

function tell(message: ManyMessage): void {
  process.send?.(message);
}

process.on('disconnect', () => process.exit(1));
startClients(JSON.parse(process.argv[2] ?? '{}') as ManyJob);
