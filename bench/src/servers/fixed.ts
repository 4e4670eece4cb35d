/**
 * The ceiling: a raw TCP server that looks for the end of each request and answers with fixed bytes. No server can be
 * driven faster by this generator, so the rate reached here says how much room the generator has.
 */

import { SEQ_FIRST } from '../cumulative.ts';
import { ARRAY_EVENTS } from '../loads.ts';
import { clientFrameEnd } from '../ws-frames.ts';
import { announce } from './announce.ts';

const ACCEPTED = Buffer.from('HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\n{}');
const SWITCHING = Buffer.from('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n');
const ACK = Buffer.concat([Buffer.from([0x81, 40]), Buffer.from('{"type":"event_ack","status":"received"}')]);
/** A frame with this many bytes is an array of so many events: this server parses nothing. */
const ARRAY_BYTES_MIN = 10_000;
/** One with so few is the wish for cumulative acks. */
const SUBSCRIBE_BYTES_MAX = 100;
const HEAD_END = Buffer.from('\r\n\r\n');
const LENGTH = Buffer.from('Content-Length: ');
const CHUNKED = Buffer.from('Transfer-Encoding: chunked');
/** Neither JSON nor a chunk's size has it inside. */
const CHUNKS_END = Buffer.from('\r\n0\r\n\r\n');

function throughAck(events: number): Buffer {
  const text = `{"type":"event_ack","throughSeq":${SEQ_FIRST - 1 + events}}`;
  return Buffer.concat([Buffer.from([0x81, text.length]), Buffer.from(text)]);
}

interface Peer {
  isWebSocket: boolean;
  /** The end of a chunked body is looked for. */
  isChunked: boolean;
  /** Bytes of the present request or frame that have not come. */
  missing: number;
  rest: Buffer;
  /** Of the present frame. */
  acks: number;
  isCumulative: boolean;
  /** Events of frames that came whole, while acks are cumulative. */
  through: number;
}

function read(peer: Peer, chunk: Buffer): Buffer[] {
  const replies: Buffer[] = [];
  const { through } = peer;
  let bytes = peer.rest.length === 0 ? chunk : Buffer.concat([peer.rest, chunk]);
  while (bytes.length > 0) {
    if (peer.missing > 0) {
      const taken = Math.min(peer.missing, bytes.length);
      peer.missing -= taken;
      bytes = bytes.subarray(taken);
      if (peer.missing > 0) continue;
      if (peer.isCumulative) peer.through += peer.acks;
      else replies.push(...(peer.isWebSocket ? Array(peer.acks).fill(ACK) : [ACCEPTED]));
      continue;
    }
    if (peer.isChunked) {
      const chunksEnd = bytes.indexOf(CHUNKS_END);
      if (chunksEnd < 0) {
        bytes = bytes.subarray(Math.max(0, bytes.length - CHUNKS_END.length));
        break;
      }
      peer.isChunked = false;
      replies.push(ACCEPTED);
      bytes = bytes.subarray(chunksEnd + CHUNKS_END.length);
      continue;
    }
    if (peer.isWebSocket) {
      const end = clientFrameEnd(bytes);
      if (end === undefined) break;
      peer.missing = end;
      peer.isCumulative ||= end < SUBSCRIBE_BYTES_MAX;
      peer.acks = end < SUBSCRIBE_BYTES_MAX ? 0 : end > ARRAY_BYTES_MIN ? ARRAY_EVENTS : 1;
      continue;
    }
    const headEnd = bytes.indexOf(HEAD_END);
    if (headEnd < 0) break;
    const length = bytes.indexOf(LENGTH);
    const chunked = bytes.indexOf(CHUNKED);
    if (chunked >= 0 && chunked < headEnd) {
      peer.isChunked = true;
      // The line break that may be the first of the body's end.
      bytes = bytes.subarray(headEnd + 2);
    } else if (length < 0 || length > headEnd) {
      peer.isWebSocket = true;
      replies.push(SWITCHING);
      bytes = bytes.subarray(headEnd + HEAD_END.length);
    } else {
      const digitsEnd = bytes.indexOf(13, length);
      peer.missing = headEnd + HEAD_END.length + Number(bytes.toString('latin1', length + LENGTH.length, digitsEnd));
    }
  }
  peer.rest = Buffer.from(bytes);
  if (peer.through > through) replies.push(throughAck(peer.through));
  return replies;
}

const listener = Bun.listen<Peer>({
  hostname: '127.0.0.1',
  port: 0,
  socket: {
    open(socket) {
      socket.data = {
        isWebSocket: false,
        isChunked: false,
        missing: 0,
        rest: Buffer.alloc(0),
        acks: 1,
        isCumulative: false,
        through: 0,
      };
      socket.setNoDelay(true);
    },
    data(socket, chunk) {
      const replies = read(socket.data, chunk);
      // Replies are small and their number is bounded by the requests in flight: the socket takes them whole.
      if (replies.length === 1) socket.write(replies[0] as Buffer);
      else if (replies.length > 1) socket.write(Buffer.concat(replies));
    },
  },
});

announce(listener.port);
