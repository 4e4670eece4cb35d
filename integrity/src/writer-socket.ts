/** A client that streams over a WebSocket, connects again whenever it is cut off, and sends again what was not answered. */
import { createEventMaker, type EventMaker, type SentEvent } from './events.ts';
import type { Answer, OrderLog } from './ledger.ts';
import { COPIES_SHARE, FINISH_TIMEOUT_MS, GIVE_UP_SHARE, type Writer, type WriterOptions } from './writer-http.ts';

const RECONNECT_MS = 100;
const RETRY_PAUSE_MS = 100;
const FRAME_EVENTS_MAX = 20;
/** How often a refusal makes it connect anew. */
const MOVE_SHARE = 0.2;
/** Well under the credit, so that the service has no reason to cut us off. */
export const UNANSWERED_MAX = 500;
/** A connection that answers nothing for so long has lost something. */
const SILENCE_MS = 30_000;

interface Connection {
  readonly socket: WebSocket;
  /** Which instance it leads to. */
  readonly at: number;
  readonly maker: EventMaker;
  readonly order: OrderLog;
  /** By the client's own counter. */
  readonly unanswered: Map<number, SentEvent>;
  nextSeq: number;
  isOpen: boolean;
  heardAt: number;
}

export interface SocketWriter extends Writer {
  /** Codes with which the service closed connections, in order. */
  closeCodes(): readonly number[];
}

export function startSocketWriter(options: WriterOptions): SocketWriter {
  const { ledger, random, name, urls, copies, copiesShare = COPIES_SHARE } = options;
  const mayMove = urls.length > 1 || options.fresh === true;
  const again: SentEvent[] = [];
  const closeCodes: number[] = [];
  const firstAt = random.integer(0, urls.length - 1);
  let connections = 0;
  let connection: Connection | undefined;
  let wasRefused = false;
  let finishing = false;
  let finishDeadline = Number.POSITIVE_INFINITY;

  async function run(): Promise<void> {
    while (!finishing || again.length > 0 || (connection?.unanswered.size ?? 0) > 0) {
      if (performance.now() > finishDeadline)
        return ledger.broke(`${name}: ${again.length} events got no answer in ${FINISH_TIMEOUT_MS} ms`);
      const open = connection ?? connect();
      if (!open.isOpen) await Bun.sleep(RECONNECT_MS);
      else {
        checkSilence(open);
        if (open.unanswered.size < UNANSWERED_MAX) sendFrame(open);
        await Bun.sleep(wasRefused ? RETRY_PAUSE_MS : random.integer(0, options.pauseMsMax));
        // What one process does not take goes to another one, where there is one.
        if (wasRefused && mayMove && random.next() < MOVE_SHARE) open.socket.close();
        wasRefused = false;
      }
    }
    connection?.socket.close();
  }

  function connect(): Connection {
    connections += 1;
    const session = `${name}-c${connections}`;
    const at = (firstAt + connections) % urls.length;
    const socket = new WebSocket(`${urls[at]?.replace('http', 'ws')}/events/stream`);
    const made: Connection = {
      socket,
      at,
      maker: createEventMaker(random, session, session),
      order: ledger.newOrder(session),
      unanswered: new Map(),
      nextSeq: 1,
      isOpen: false,
      heardAt: performance.now(),
    };
    socket.onmessage = ({ data }) => hear(made, JSON.parse(String(data)));
    socket.onclose = ({ code }) => lost(made, code);
    connection = made;
    return made;
  }

  function lost(closed: Connection, code: number): void {
    if (connection === closed) connection = undefined;
    if (closed.isOpen) closeCodes.push(code);
    closed.isOpen = false;
    for (const event of closed.unanswered.values())
      if (options.givesUp !== true || random.next() > GIVE_UP_SHARE) again.push(event);
    closed.unanswered.clear();
  }

  function checkSilence(open: Connection): void {
    if (open.unanswered.size === 0) open.heardAt = performance.now();
    else if (performance.now() - open.heardAt > SILENCE_MS) {
      ledger.broke(`${name}: ${open.unanswered.size} events of an open connection got no answer in ${SILENCE_MS} ms`);
      open.socket.close();
    }
  }

  function sendFrame({ socket, at, maker, unanswered }: Connection): void {
    const open = connection as Connection;
    const events = again.splice(0, FRAME_EVENTS_MAX / 2);
    const count = finishing ? 0 : random.integer(1, FRAME_EVENTS_MAX / 2);
    for (let n = 0; n < count; n++) {
      const choice = random.next();
      const copy = choice > 1 - copiesShare ? copies.pick(at) : undefined;
      events.push(copy ?? (choice < 0.04 ? maker.bad() : maker.good()));
    }
    if (events.length === 0) return;
    const seq = open.nextSeq;
    for (const [n, event] of events.entries()) {
      ledger.sent(event);
      unanswered.set(seq + n, event);
      if (event.digest !== undefined) copies.remember(event, at);
    }
    open.nextSeq += events.length;
    const [only] = events;
    const payload =
      events.length === 1 && only !== undefined ? only.text : `[${events.map(({ text }) => text).join(',')}]`;
    const frame = `{"type":"cart_event","seq":${seq},"payload":${payload}}`;
    if (random.next() < 0.2) socket.send(Buffer.from(frame));
    else socket.send(frame);
  }

  function hear(from: Connection, message: Record<string, unknown>): void {
    from.heardAt = performance.now();
    switch (message['type']) {
      case 'hello':
        from.isOpen = true;
        return;
      case 'event_ack':
      case 'event_error':
        return settle(from, message);
      case 'going_away':
        return;
      default:
        ledger.broke(`${name} was told ${JSON.stringify(message).slice(0, 200)}`);
    }
  }

  function settle(from: Connection, message: Record<string, unknown>): void {
    const seq = Number(message['seq']);
    const event = from.unanswered.get(seq);
    if (event === undefined) return ledger.broke(`${name}: ${JSON.stringify(message)} answers nothing that is open`);
    from.unanswered.delete(seq);
    if (message['eventId'] !== event.eventId)
      ledger.broke(`${name}: the answer to ${event.eventId} names ${message['eventId']}`);
    const answer = answerOf(message);
    ledger.answered(event, answer);
    if (answer.kind === 'retry') {
      wasRefused = true;
      again.push(event);
      return;
    }
    options.onAck?.();
    if (answer.kind === 'accepted' && answer.position !== undefined) from.order.accepted(seq, answer.position);
  }

  const done = run();
  return {
    closeCodes: () => closeCodes,
    finish() {
      finishing = true;
      finishDeadline = performance.now() + FINISH_TIMEOUT_MS;
      return done;
    },
  };
}

function answerOf(said: Record<string, unknown>): Answer {
  const { type, status, position, retryAfterMs, code, message } = said as Record<string, string | number | undefined>;
  if (type === 'event_error')
    return retryAfterMs === undefined
      ? { kind: 'rejected' }
      : { kind: 'retry', code: String(code), message: String(message) };
  const at = typeof position === 'string' ? { position } : {};
  if (status === 'duplicate') return { kind: 'duplicate', ...at };
  return { kind: 'accepted', ...at, ...(said['deduplication'] === 'local' ? { isLocal: true } : {}) };
}
