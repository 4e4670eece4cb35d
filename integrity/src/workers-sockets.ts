/**
 * Many WebSockets on the shared port of one service, each with one event in flight: which process holds it, how often it was
 * answered, and every time that it was cut off. A connection that is cut off is made anew and sends again what had no answer.
 */
import { createEventMaker, type SentEvent } from './events.ts';
import type { Answer, Ledger } from './ledger.ts';
import type { Seeded } from './seeded.ts';
import { until } from './until.ts';

export interface WorkerSocket {
  /** Of the process that holds it; undefined while it is not open. */
  readonly process: string | undefined;
  readonly answers: number;
  /** Times that it was cut off, or could not be opened. */
  readonly cuts: number;
}

export interface WorkerSockets {
  readonly sockets: readonly WorkerSocket[];
  /** Open sockets by the process that holds them. */
  byProcess(): ReadonlyMap<string, readonly WorkerSocket[]>;
  /** Waits until each of them has been answered so many times more. */
  progress(answers: number, sockets?: readonly WorkerSocket[]): Promise<void>;
  /** No new events; resolves once each has its answer and is closed. */
  finish(): Promise<void>;
}

const PAUSE_MS = 200;
const RECONNECT_MS = 100;

export async function openWorkerSockets(
  url: string,
  count: number,
  ledger: Ledger,
  random: Seeded,
): Promise<WorkerSockets> {
  let finishing = false;
  const made = Array.from({ length: count }, (_, n) => startSocket(url, `many${n}`, ledger, random, () => finishing));
  const sockets = made.map(({ state }) => state);

  function byProcess(): ReadonlyMap<string, readonly WorkerSocket[]> {
    const open = sockets.filter(({ process }) => process !== undefined);
    return Map.groupBy(open, ({ process }) => process as string);
  }

  async function progress(answers: number, which: readonly WorkerSocket[] = sockets): Promise<void> {
    const wanted = which.map((socket) => socket.answers + answers);
    const behind = () => which.filter((socket, n) => socket.answers < (wanted[n] as number));
    await until(
      () => behind().length === 0,
      () => `every connection is answered, not all but ${behind().length} of ${which.length}`,
    );
  }

  await until(
    () => sockets.every(({ process }) => process !== undefined),
    () => `${count} WebSockets are open: ${sockets.filter(({ process }) => process === undefined).length} are not`,
  );
  return {
    sockets,
    byProcess,
    progress,
    async finish() {
      finishing = true;
      await Promise.all(made.map(({ done }) => done));
    },
  };
}

function startSocket(url: string, name: string, ledger: Ledger, random: Seeded, isFinishing: () => boolean) {
  const maker = createEventMaker(random, name, name);
  const state = { process: undefined as string | undefined, answers: 0, cuts: 0 };
  const done = Promise.withResolvers<void>();
  let unanswered: SentEvent | undefined;

  function connect(): void {
    const socket = new WebSocket(`${url.replace('http', 'ws')}/events/stream`);
    socket.onmessage = ({ data }) => hear(socket, JSON.parse(String(data)));
    socket.onclose = () => {
      state.process = undefined;
      if (isFinishing() && unanswered === undefined) return done.resolve();
      state.cuts += 1;
      setTimeout(connect, random.integer(0, RECONNECT_MS));
    };
  }

  function send(socket: WebSocket): void {
    if (socket.readyState !== WebSocket.OPEN) return;
    if (isFinishing() && unanswered === undefined) return socket.close();
    unanswered ??= maker.good();
    ledger.sent(unanswered);
    socket.send(`{"type":"cart_event","payload":${unanswered.text}}`);
  }

  function hear(socket: WebSocket, message: Readonly<Record<string, unknown>>): void {
    if (message['type'] === 'hello') state.process = String(message['connectionId']).split('-')[0];
    else if (message['type'] === 'event_ack' || message['type'] === 'event_error') settle(message);
    else return;
    setTimeout(send, random.integer(0, PAUSE_MS), socket);
  }

  function settle(message: Readonly<Record<string, unknown>>): void {
    if (unanswered === undefined || message['eventId'] !== unanswered.eventId)
      return ledger.broke(`${name}: ${JSON.stringify(message).slice(0, 300)} answers nothing that is open`);
    const answer = answerOf(message);
    ledger.answered(unanswered, answer);
    if (answer.kind === 'retry') return;
    unanswered = undefined;
    state.answers += 1;
  }

  connect();
  return { state, done: done.promise };
}

function answerOf(said: Readonly<Record<string, unknown>>): Answer {
  const { type, status, position, retryAfterMs, code, message } = said;
  if (type === 'event_error')
    return retryAfterMs === undefined
      ? { kind: 'rejected' }
      : { kind: 'retry', code: String(code), message: String(message) };
  const at = typeof position === 'string' ? { position } : {};
  return { kind: status === 'duplicate' ? 'duplicate' : 'accepted', ...at };
}
