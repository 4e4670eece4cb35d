/**
 * Requests as the bytes that go on the wire, made before anything is measured. Sending one costs a stamp of its ids and
 * one write; a compressed one is compressed anew, because its ids are. A slot may be used again only when the reply to it has come.
 */

import { SEQ_FIRST, writeSeq } from './cumulative.ts';
import { eventText, ID_OFFSET, type IdStamp, type Titles } from './events.ts';
import { type Mix, mixCounts } from './mix.ts';
import { createRandom, type Random } from './random.ts';
import { spoil } from './spoil.ts';
import { clientFrame } from './ws-frames.ts';

export type LoadKind = 'single' | 'batch' | 'ndjson' | 'ws';
/** `flume`: a JSON array of events whose bodies are texts, whatever their number. */
export type BodyForm = 'weir' | 'flume';

/** One number in an ack for all frames up to it; else an ack for each event. */
export type Acks = 'cumulative';

export interface RingOptions {
  readonly kind: LoadKind;
  /** Default: `weir`. */
  readonly form?: BodyForm;
  /** Of WebSocket frames: each has its number in it. */
  readonly acks?: Acks;
  readonly slots: number;
  /** A WebSocket frame with more than one holds an array. */
  readonly eventsPerRequest: number;
  readonly host: string;
  readonly seed: number;
  readonly nowMs: number;
  readonly nonce: string;
  readonly titles: Titles;
  readonly mix: Mix;
}

export interface RequestRing {
  /** Every slot's bytes, one after another. */
  readonly bytes: Uint8Array;
  readonly slots: number;
  /** Bytes of all events' JSON, without what is around them. */
  readonly eventBytes: number;
  start(slot: number): number;
  end(slot: number): number;
  /** Gives the slot's events ids that were never sent; but from the second time on, its duplicates keep theirs. */
  stamp(slot: number): void;
  /** How often a slot was stamped. */
  stamped(): number;
  /** The slot's request as it stands, compressed; absent where nothing is compressed. */
  readonly compress?: (slot: number) => Uint8Array;
}

/** One slot: its bytes, and where in them the ids begin. */
interface Slot {
  readonly bytes: Uint8Array;
  readonly idOffsets: readonly number[];
  readonly mask?: { readonly key: Uint8Array; readonly from: number };
  readonly seqOffset?: number;
}

export function createRequestRing(options: RingOptions, stamp: IdStamp): RequestRing {
  const random = createRandom(options.seed);
  const { duplicates } = mixCounts(options.mix, options.eventsPerRequest);
  let eventBytes = 0;
  const slots = Array.from({ length: options.slots }, () => {
    const texts = eventTexts(options, random);
    eventBytes += texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0);
    return slotOf(options, texts, random.below(0x1_0000_0000));
  });
  const starts = [0];
  for (const { bytes } of slots) starts.push((starts.at(-1) as number) + bytes.length);
  const all = Buffer.concat(slots.map(({ bytes }) => bytes));
  const start = (slot: number) => starts[slot] as number;
  const end = (slot: number) => starts[slot + 1] as number;
  const isUsed = new Uint8Array(slots.length);
  let stamped = 0;

  return {
    bytes: all,
    slots: slots.length,
    eventBytes,
    start,
    end,
    stamped: () => stamped,
    stamp(at) {
      const slot = slots[at] as Slot;
      const base = start(at);
      if (slot.mask !== undefined && slot.seqOffset !== undefined) {
        const seq = SEQ_FIRST + stamped * options.eventsPerRequest;
        writeSeq(all, base + slot.seqOffset, seq, slot.mask.key, base + slot.mask.from);
      }
      stamped += 1;
      for (let index = isUsed[at] === 1 ? duplicates : 0; index < slot.idOffsets.length; index++) {
        const offset = base + (slot.idOffsets[index] as number);
        if (slot.mask === undefined) stamp.write(all, offset);
        else stamp.write(all, offset, slot.mask.key, base + slot.mask.from);
      }
      isUsed[at] = 1;
    },
    ...(options.mix.encoding === 'identity'
      ? {}
      : { compress: (slot: number) => compressed(options, all.subarray(start(slot), end(slot))) }),
  };
}

function eventTexts(options: RingOptions, random: Random): string[] {
  const { eventsPerRequest, mix } = options;
  const firstInvalid = eventsPerRequest - mixCounts(mix, eventsPerRequest).invalid;
  return Array.from({ length: eventsPerRequest }, (_, index) => {
    const text = eventText({ ...options, random, bytes: mix.eventBytes });
    return index < firstInvalid ? text : spoil(text, index);
  });
}

function slotOf(options: RingOptions, texts: readonly string[], maskKey: number): Slot {
  if (options.form === 'flume') return httpSlot(options.host, '/', flumeBody(texts));
  switch (options.kind) {
    case 'single':
      return httpSlot(options.host, '/events', joined('', texts, ''));
    case 'batch':
      return httpSlot(options.host, '/events/batch', joined('{"events":[', texts, ']}'));
    case 'ndjson':
      return linesSlot(options.host, texts);
    case 'ws': {
      const [before, after] = texts.length === 1 ? ['', ''] : ['[', ']'];
      const seq = options.acks === 'cumulative' ? `${BEFORE_SEQ}${SEQ_FIRST}` : '{"type":"cart_event"';
      const { text, idOffsets } = joined(`${seq},"payload":${before}`, texts, `${after}}`);
      const frame = clientFrame(Buffer.from(text), maskKey);
      return {
        bytes: frame.bytes,
        idOffsets: idOffsets.map((offset) => frame.payloadOffset + offset),
        mask: { key: frame.key, from: frame.payloadOffset },
        ...(options.acks === undefined ? {} : { seqOffset: frame.payloadOffset + BEFORE_SEQ.length }),
      };
    }
  }
}

const BEFORE_SEQ = '{"type":"cart_event","seq":';

interface Body {
  readonly text: string;
  readonly idOffsets: readonly number[];
}

/** What stands before an id when the event is the text in the body of one of Flume's, whose quotes are escaped. */
const FLUME_BEFORE = '{"headers":{},"body":';
const FLUME_ID_OFFSET = (FLUME_BEFORE + JSON.stringify('{"eventId":"')).length - '"'.length;

function flumeBody(texts: readonly string[]): Body {
  const wrapped = texts.map((text) => `${FLUME_BEFORE}${JSON.stringify(text)}}`);
  return joined('[', wrapped, ']', FLUME_ID_OFFSET);
}

/** Events between commas. Offsets are in bytes; everything around the events is ASCII. */
function joined(before: string, texts: readonly string[], after: string, idOffset = ID_OFFSET): Body {
  const idOffsets: number[] = [];
  let at = before.length;
  for (const text of texts) {
    idOffsets.push(at + idOffset);
    at += Buffer.byteLength(text) + 1;
  }
  return { text: `${before}${texts.join(',')}${after}`, idOffsets };
}

/** The headers that a storefront's HTTP client sends at least. */
function headOf(host: string, path: string, ...lines: readonly string[]): string {
  return [`POST ${path} HTTP/1.1`, `Host: ${host}`, 'User-Agent: weir-bench', 'Accept: */*', ...lines, '', ''].join(
    '\r\n',
  );
}

function httpSlot(host: string, path: string, { text, idOffsets }: Body): Slot {
  const head = headOf(host, path, 'Content-Type: application/json', `Content-Length: ${Buffer.byteLength(text)}`);
  return { bytes: Buffer.from(head + text), idOffsets: idOffsets.map((offset) => head.length + offset) };
}

const HEAD_END = Buffer.from('\r\n\r\n');

/** The same request with its body compressed: at the fastest level, so that the generator has time to spare. */
function compressed({ host, mix }: RingOptions, request: Uint8Array): Uint8Array {
  const body = request.subarray(Buffer.from(request.buffer, request.byteOffset, request.length).indexOf(HEAD_END) + 4);
  const bytes =
    mix.encoding === 'gzip'
      ? Bun.gzipSync(Uint8Array.from(body), { level: 1 })
      : Bun.zstdCompressSync(body, { level: 1 });
  const head = headOf(
    host,
    '/events/batch',
    'Content-Type: application/json',
    `Content-Encoding: ${mix.encoding}`,
    `Content-Length: ${bytes.length}`,
  );
  return Buffer.concat([Buffer.from(head), bytes]);
}

/** Lines in one chunk of a streamed body: about 64 KiB, what a client reads from a file at once. */
const CHUNK_LINES = 200;

/** A line an event, in chunks (RFC 9112, 7.1), as a client sends what it does not know the length of. */
function linesSlot(host: string, texts: readonly string[]): Slot {
  const head = headOf(host, '/events/batch', 'Content-Type: application/x-ndjson', 'Transfer-Encoding: chunked');
  const pieces = [Buffer.from(head)];
  const idOffsets: number[] = [];
  let at = head.length;
  for (let first = 0; first < texts.length; first += CHUNK_LINES) {
    const lines = texts.slice(first, first + CHUNK_LINES).map((text) => Buffer.from(`${text}\n`));
    const size = Buffer.from(`${lines.reduce((sum, line) => sum + line.length, 0).toString(16)}\r\n`);
    pieces.push(size, ...lines, Buffer.from('\r\n'));
    at += size.length;
    for (const line of lines) {
      idOffsets.push(at + ID_OFFSET);
      at += line.length;
    }
    at += 2;
  }
  return { bytes: Buffer.concat([...pieces, Buffer.from('0\r\n\r\n')]), idOffsets };
}
