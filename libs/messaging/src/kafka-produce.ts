/**
 * kafkajs 2.2.4 makes produce requests message by message, and copies what it has made three times. A batch goes to its
 * producer as one message instead, which knows how to write the request's body, once, with room in front for what the
 * library puts there. Connections, leaders, retries and answers stay the library's; the two places that are changed are
 * one for the process: https://github.com/tulios/kafkajs/blob/v2.2.4/src/protocol/requests/index.js and encoder.js
 */
import { createRequire } from 'node:module';
import type { Message } from 'kafkajs';
import { encodeProduce, produceBytesMax, type Records } from './kafka-record-batch.ts';

/** Stands for all messages of a batch. */
export interface EncodedBatch extends Message {
  readonly partition: number;
  readonly records: Records;
  /** The first message's number among all that the producer sent to the partition. */
  readonly firstSequence: number;
  /** Gives a buffer of at least this size, which must not change until the broker has answered. Asked at each attempt. */
  readonly room: (bytes: number) => Buffer;
}

interface ProduceArguments {
  readonly timeout: number;
  readonly producerId: string;
  readonly producerEpoch: number;
  readonly topicData: readonly {
    readonly topic: string;
    readonly partitions: readonly { readonly messages: readonly (Message | EncodedBatch)[] }[];
  }[];
}

/** Bytes that may be continued at their front. */
interface Body {
  readonly bytes: Buffer;
  readonly start: number;
  readonly end: number;
}

interface Encoder {
  buf: Buffer;
  offset: number;
  readonly buffer: Buffer;
  writeEncoder(other: Encoder): Encoder;
  [BODY]?: Body;
}

interface Exchange {
  readonly request: { encode(): Promise<Encoder> };
  readonly response: object;
}

interface Definition {
  readonly versions: readonly string[];
  protocol(of: { readonly version: number }): (made: ProduceArguments) => Exchange;
}

interface Requests {
  Produce: Definition;
  [MARK]?: true;
}

type EncoderClass = { new (): Encoder; readonly prototype: Encoder };

const MARK = Symbol.for('weir.kafkajs.produce');
const BODY = Symbol.for('weir.kafkajs.body');
/** Size, kind and number of the request, and our name, before a body; where it is longer, the library copies. */
const FRONT_BYTES = 256;

/** Changes the library once per process, however often it is called. */
export function takeEncodedBatches(): void {
  const load = createRequire(import.meta.url);
  const { requests } = load('kafkajs/src/protocol/requests') as { requests: Requests };
  if (requests[MARK]) return;
  requests[MARK] = true;
  const Encoder = load('kafkajs/src/protocol/encoder') as EncoderClass;
  const { versions, protocol } = requests.Produce;
  requests.Produce = {
    versions,
    protocol: (version) => (made) => withBatch(protocol(version)(made), made, Encoder),
  };
  const { writeEncoder } = Encoder.prototype;
  Encoder.prototype.writeEncoder = function writeInFront(this: Encoder, other: Encoder): Encoder {
    const body = other[BODY];
    if (body === undefined || body.start < this.offset) return writeEncoder.call(this, other);
    const start = body.start - this.offset;
    this.buf.copy(body.bytes, start, 0, this.offset);
    return holding(this, { ...body, start });
  };
}

function withBatch(exchange: Exchange, made: ProduceArguments, Encoder: EncoderClass): Exchange {
  const [data] = made.topicData;
  const batch = data?.partitions[0]?.messages[0];
  if (data === undefined || batch === undefined || !('records' in batch)) return exchange;
  const { timeout: timeoutMs, producerId, producerEpoch } = made;
  const { partition, records, firstSequence, room } = batch;

  async function encode(): Promise<Encoder> {
    const { topic } = data as { topic: string };
    const bytes = room(FRONT_BYTES + produceBytesMax(topic, records));
    const identity = { producerId, producerEpoch, firstSequence };
    const request = { topic, partition, records, timeoutMs, timeMs: Date.now(), ...identity };
    const body = encodeProduce(request, bytes.subarray(FRONT_BYTES));
    return holding(new Encoder(), { bytes, start: FRONT_BYTES, end: FRONT_BYTES + body.length });
  }

  return { ...exchange, request: { ...exchange.request, encode } };
}

function holding(encoder: Encoder, body: Body): Encoder {
  encoder.buf = body.bytes.subarray(body.start, body.end);
  encoder.offset = encoder.buf.length;
  encoder[BODY] = body;
  return encoder;
}
