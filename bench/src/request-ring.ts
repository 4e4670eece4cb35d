/**
 * Requests as the bytes that go on the wire, made before anything is measured. Sending one costs a stamp of its ids and
 * one write. A slot may be stamped again only when the reply to it has come.
 */

import { eventText, ID_OFFSET, type IdStamp, type Titles } from './events.ts';
import { createRandom } from './random.ts';
import { clientFrame } from './ws-frames.ts';

export type LoadKind = 'single' | 'batch' | 'ws';

export interface RingOptions {
  readonly kind: LoadKind;
  readonly slots: number;
  /** 1, but for batches. */
  readonly eventsPerRequest: number;
  readonly host: string;
  readonly seed: number;
  readonly nowMs: number;
  readonly nonce: string;
  readonly titles: Titles;
}

export interface RequestRing {
  /** Every slot's bytes, one after another. */
  readonly bytes: Uint8Array;
  readonly slots: number;
  /** Bytes of all events' JSON, without what is around them. */
  readonly eventBytes: number;
  start(slot: number): number;
  end(slot: number): number;
  /** Gives the slot's events ids that were never sent. */
  stamp(slot: number): void;
}

/** One slot: its bytes, and where in them the ids begin. */
interface Slot {
  readonly bytes: Uint8Array;
  readonly idOffsets: readonly number[];
  readonly mask?: { readonly key: Uint8Array; readonly from: number };
}

export function createRequestRing(options: RingOptions, stamp: IdStamp): RequestRing {
  const random = createRandom(options.seed);
  let eventBytes = 0;
  const texts = () =>
    Array.from({ length: options.eventsPerRequest }, () => {
      const text = eventText({ ...options, random });
      eventBytes += Buffer.byteLength(text);
      return text;
    });
  const slots = Array.from({ length: options.slots }, () => slotOf(options, texts(), random.below(0x1_0000_0000)));
  const starts = [0];
  for (const { bytes } of slots) starts.push((starts.at(-1) as number) + bytes.length);
  const all = Buffer.concat(slots.map(({ bytes }) => bytes));

  return {
    bytes: all,
    slots: slots.length,
    eventBytes,
    start: (slot) => starts[slot] as number,
    end: (slot) => starts[slot + 1] as number,
    stamp(at) {
      const slot = slots[at] as Slot;
      const base = starts[at] as number;
      for (const offset of slot.idOffsets) {
        if (slot.mask === undefined) stamp.write(all, base + offset);
        else stamp.write(all, base + offset, slot.mask.key, base + slot.mask.from);
      }
    },
  };
}

function slotOf(options: RingOptions, texts: readonly string[], maskKey: number): Slot {
  switch (options.kind) {
    case 'single':
      return httpSlot(options.host, '/events', texts[0] as string, [ID_OFFSET]);
    case 'batch':
      return batchSlot(options.host, texts);
    case 'ws': {
      const before = '{"type":"cart_event","payload":';
      const frame = clientFrame(Buffer.from(`${before}${texts[0]}}`), maskKey);
      const idOffset = frame.payloadOffset + before.length + ID_OFFSET;
      return { bytes: frame.bytes, idOffsets: [idOffset], mask: { key: frame.key, from: frame.payloadOffset } };
    }
  }
}

function batchSlot(host: string, texts: readonly string[]): Slot {
  const before = '{"events":[';
  const idOffsets: number[] = [];
  let at = before.length;
  for (const text of texts) {
    idOffsets.push(at + ID_OFFSET);
    at += Buffer.byteLength(text) + 1;
  }
  return httpSlot(host, '/events/batch', `${before}${texts.join(',')}]}`, idOffsets);
}

/** The headers that a storefront's HTTP client sends at least. */
function httpSlot(host: string, path: string, body: string, idOffsets: readonly number[]): Slot {
  const head = [
    `POST ${path} HTTP/1.1`,
    `Host: ${host}`,
    'User-Agent: weir-bench',
    'Accept: */*',
    'Content-Type: application/json',
    `Content-Length: ${Buffer.byteLength(body)}`,
    '',
    '',
  ].join('\r\n');
  return { bytes: Buffer.from(head + body), idOffsets: idOffsets.map((offset) => head.length + offset) };
}
