/** A lane is one connection with its own ring of requests: what a load sends on, whatever the protocol. */
import { type Connection, connect } from './connections.ts';
import { createThroughCount, SUBSCRIBE } from './cumulative.ts';
import { createResponseReader } from './http-response.ts';
import { countsProblem, type Expected, readCounts } from './mix.ts';
import type { Acks, RequestRing } from './request-ring.ts';
import { clientFrame, createFrameReader, handshakeRequest, OPCODE_TEXT } from './ws-frames.ts';

export interface Lane {
  /** Sends the next `requests` of its ring, with new ids, in one write where the ring allows. */
  send(requests: number): void;
  close(): void;
}

export interface LaneHandlers {
  /** So many replies came in one read, oldest request first. */
  replied(replies: number): void;
  /** A reply was not what was expected, or the connection was lost: `problem` names it. */
  problem(problem: string): void;
}

export interface LaneTarget {
  readonly host: string;
  readonly port: number;
}

const CODE = /"(?:error|code)":"([^"]{1,60})"/;
const MESSAGE = /"message":"([^"]{1,160})/;
const SHOWN_CHARS = 160;

/** `expected`: what the n-th reply of the lane has to be, counted from 0. */
export async function openHttpLane(
  target: LaneTarget,
  ring: RequestRing,
  handlers: LaneHandlers,
  expected: (reply: number) => Expected,
): Promise<Lane> {
  let replies = 0;
  let answered = 0;
  const reader = createResponseReader((status, bytes, bodyStart, bodyEnd) => {
    replies += 1;
    const { status: right, counts } = expected(answered);
    answered += 1;
    if (status === right && counts === undefined) return;
    const body = bytes.toString('utf8', bodyStart, bodyEnd);
    const problem =
      status === right && counts ? countsProblem(counts, readCounts(body)) : `status ${status} ${describe(body)}`;
    if (problem !== undefined) handlers.problem(problem);
  });
  const connection = await connect(target.host, target.port, {
    data(chunk) {
      replies = 0;
      reader.read(chunk);
      if (replies > 0) handlers.replied(replies);
    },
    lost: handlers.problem,
  });
  return laneOn(connection, ring);
}

const RECEIVED = Buffer.from('"status":"received"');
const ACK = Buffer.from('{"type":"event_ack"');
const HELLO = Buffer.from('{"type":"hello"');
const HANDSHAKE_TIMEOUT_MS = 10_000;

/** A frame is answered when each of its `eventsPerFrame` events is. */
export async function openWsLane(
  target: LaneTarget,
  ring: RequestRing,
  handlers: LaneHandlers,
  eventsPerFrame: number,
  acks?: Acks,
): Promise<Lane> {
  /** Events that were answered, less those of frames that are answered. */
  let events = 0;
  const throughCount = createThroughCount(() => ring.stamped() * eventsPerFrame);
  const frames = createFrameReader((opcode, bytes, start, end) => {
    if (opcode === OPCODE_TEXT && startsWith(bytes, HELLO, start)) return;
    if (acks === 'cumulative') {
      const text = bytes.toString('utf8', start, end);
      const acknowledged = opcode === OPCODE_TEXT ? throughCount(text) : undefined;
      if (acknowledged === undefined) handlers.problem(`frame ${opcode} ${describe(text)}`);
      events += acknowledged ?? 0;
      return;
    }
    events += 1;
    const received = bytes.indexOf(RECEIVED, start);
    const isAck = opcode === OPCODE_TEXT && startsWith(bytes, ACK, start) && received >= 0 && received < end;
    if (!isAck) handlers.problem(`frame ${opcode} ${describe(bytes.toString('utf8', start, end))}`);
  });
  const upgraded = await openWebSocket(target, {
    data(chunk) {
      frames.read(chunk);
      const replies = Math.floor(events / eventsPerFrame);
      events -= replies * eventsPerFrame;
      if (replies > 0) handlers.replied(replies);
    },
    lost: handlers.problem,
  });
  if (acks === 'cumulative') {
    const { bytes } = clientFrame(Buffer.from(SUBSCRIBE), 0);
    upgraded.write(bytes, 0, bytes.length);
  }
  return laneOn(upgraded, ring);
}

/** Connects to `/events/stream`; what comes after the handshake goes to `handlers`. Throws when it is refused. */
export async function openWebSocket(
  target: LaneTarget,
  handlers: { data(chunk: Uint8Array): void; lost(reason: string): void },
): Promise<Connection> {
  const opened = Promise.withResolvers<void>();
  let isOpen = false;
  const head = createResponseReader((status) => {
    if (status !== 101) throw new Error(`the WebSocket handshake was answered ${status}`);
    isOpen = true;
  });
  const connection = await connect(target.host, target.port, {
    data(chunk) {
      if (isOpen) return handlers.data(chunk);
      head.read(chunk);
      if (!isOpen) return;
      opened.resolve();
      const rest = head.takeRest();
      if (rest.length > 0) handlers.data(rest);
    },
    lost(reason) {
      opened.reject(new Error(reason));
      if (isOpen) handlers.lost(reason);
    },
  });
  const request = handshakeRequest(`${target.host}:${target.port}`, '/events/stream');
  connection.write(request, 0, request.length);
  const timer = setTimeout(
    () => opened.reject(new Error('the WebSocket handshake was not answered')),
    HANDSHAKE_TIMEOUT_MS,
  );
  await opened.promise.finally(() => clearTimeout(timer));
  return connection;
}

function laneOn(connection: Connection, ring: RequestRing): Lane {
  let next = 0;

  function sendCompressed(compress: (slot: number) => Uint8Array): void {
    ring.stamp(next);
    const bytes = compress(next);
    connection.write(bytes, 0, bytes.length);
    next = (next + 1) % ring.slots;
  }

  return {
    send(requests) {
      if (ring.compress !== undefined) {
        for (let left = requests; left > 0; left--) sendCompressed(ring.compress);
        return;
      }
      for (let left = requests; left > 0; ) {
        const run = Math.min(left, ring.slots - next);
        for (let slot = next; slot < next + run; slot++) ring.stamp(slot);
        connection.write(ring.bytes, ring.start(next), ring.end(next + run - 1));
        next = (next + run) % ring.slots;
        left -= run;
      }
    },
    close: () => connection.close(),
  };
}

/** What an answer says of itself that is the same for all of its kind: not the ids. */
function describe(text: string): string {
  const parts = [CODE.exec(text)?.[1], MESSAGE.exec(text)?.[1]].filter((part) => part !== undefined);
  return parts.length > 0 ? parts.join(': ') : text.slice(0, SHOWN_CHARS);
}

function startsWith(bytes: Buffer, prefix: Buffer, at: number): boolean {
  return bytes.compare(prefix, 0, prefix.length, at, at + prefix.length) === 0;
}
