/**
 * Messages as a broker stores them: a record batch of version 2, in a produce request. Here because kafkajs 2.2.4 makes
 * encoders for a message and for each of its parts, copies them into one another and checks them byte by byte.
 * https://kafka.apache.org/documentation/#recordbatch, https://kafka.apache.org/protocol.html#The_Messages_Produce
 */
import type { KafkaMessage } from './kafka-client.ts';
import { crc32c } from './kafka-crc32c.ts';
import { utf8Bytes, writeUtf8 } from './kafka-text.ts';

/** The records of one batch, one behind the other. */
export interface Records {
  readonly count: number;
  /** What they are compressed with, as attributes of a batch say it; 0: they are not. */
  readonly codec: number;
  /** They have no more. */
  readonly bytesMax: number;
  /** Writes them and returns where they end. */
  write(into: Buffer, at: number): number;
}

export interface ProduceRequest {
  readonly topic: string;
  readonly partition: number;
  readonly records: Records;
  /** A 64-bit number, in decimal. */
  readonly producerId: string;
  readonly producerEpoch: number;
  /** The first message's number among all that the producer sent to the partition. */
  readonly firstSequence: number;
  /** Milliseconds since 1970: of every message. */
  readonly timeMs: number;
  /** How long the broker waits for its replicas. */
  readonly timeoutMs: number;
}

const HEADER_NAME = 'eventId';
/** Of a record, beyond its texts: six numbers of at most 5 bytes, attributes, time, number of headers, the header's name. */
const RECORD_OVERHEAD_BYTES_MAX = 6 * 5 + 3 + HEADER_NAME.length;
/** In UTF-8, of a UTF-16 unit. */
const UNIT_BYTES_MAX = 3;

/** Each message with its key, its value and the event id as its only header. */
export function recordsOf(messages: readonly KafkaMessage[]): Records {
  let bytesMax = 0;
  for (const { key, value, eventId } of messages) {
    bytesMax += RECORD_OVERHEAD_BYTES_MAX + value.length + UNIT_BYTES_MAX * (key.length + eventId.length);
  }
  const write = (into: Buffer, from: number): number => {
    let at = from;
    for (let index = 0; index < messages.length; index++) {
      at = writeRecord(into, at, index, messages[index] as KafkaMessage);
    }
    return at;
  };
  return { count: messages.length, codec: 0, bytesMax, write };
}

export function compressedRecords(bytes: Buffer, codec: number, count: number): Records {
  const write = (into: Buffer, at: number): number => writeBytes(into, at, bytes);
  return { count, codec, bytesMax: bytes.length, write };
}

function writeRecord(into: Buffer, from: number, index: number, { key, value, eventId }: KafkaMessage): number {
  const keyBytes = utf8Bytes(key);
  const idBytes = utf8Bytes(eventId);
  const lengthsBytes =
    varIntBytes(index) +
    varIntBytes(keyBytes) +
    varIntBytes(value.length) +
    varIntBytes(HEADER_NAME.length) +
    varIntBytes(idBytes);
  let at = writeVarInt(into, from, 3 + lengthsBytes + keyBytes + value.length + HEADER_NAME.length + idBytes);
  into[at++] = 0; // attributes: there are none
  into[at++] = 0; // time, from the batch's
  at = writeVarInt(into, at, index);
  at = writeUtf8(into, writeVarInt(into, at, keyBytes), key, keyBytes);
  at = writeBytes(into, writeVarInt(into, at, value.length), value);
  at = writeVarInt(into, at, 1);
  at = writeUtf8(into, writeVarInt(into, at, HEADER_NAME.length), HEADER_NAME, HEADER_NAME.length);
  return writeUtf8(into, writeVarInt(into, at, idBytes), eventId, idBytes);
}

/** Of a number that is not negative, as they are written that may be: doubled, seven bits a byte. */
function varIntBytes(value: number): number {
  return value < 0x40 ? 1 : value < 0x2000 ? 2 : value < 0x10_0000 ? 3 : value < 0x800_0000 ? 4 : 5;
}

function writeVarInt(into: Uint8Array, from: number, value: number): number {
  let at = from;
  let rest = value * 2;
  for (; rest > 0x7f; rest >>>= 7) into[at++] = (rest & 0x7f) | 0x80;
  into[at++] = rest;
  return at;
}

function writeBytes(into: Uint8Array, at: number, bytes: Uint8Array): number {
  into.set(bytes, at);
  return at + bytes.length;
}

const ACKS_ALL = -1;
const NO_STRING = -1;
const MAGIC = 2;
const REQUEST_HEAD_BYTES = 26;
const BATCH_HEAD_BYTES = 61;
/** In a batch: behind its length, where its checksum stands, and from where on that is made. */
const LENGTH_END = 12;
const CHECKSUM_OFFSET = 17;
const CHECKED_OFFSET = 21;

/** What a request's body takes at the most. */
export function produceBytesMax(topic: string, { bytesMax }: Records): number {
  return REQUEST_HEAD_BYTES + Buffer.byteLength(topic) + BATCH_HEAD_BYTES + bytesMax;
}

/** Writes the body of a request of version 3 to 7, for one batch of one partition, and returns the part of `body` that it takes. */
export function encodeProduce(request: ProduceRequest, body: Buffer): Buffer {
  const { topic, partition, records, timeoutMs } = request;
  let at = body.writeInt16BE(NO_STRING, 0); // of no transaction
  at = body.writeInt16BE(ACKS_ALL, at);
  at = body.writeInt32BE(timeoutMs, at);
  at = body.writeInt32BE(1, at); // topics
  at = body.writeInt16BE(Buffer.byteLength(topic), at);
  at += body.write(topic, at);
  at = body.writeInt32BE(1, at); // partitions
  at = body.writeInt32BE(partition, at);
  const batchAt = at + 4;
  const end = records.write(body, batchAt + BATCH_HEAD_BYTES);
  body.writeInt32BE(end - batchAt, at);
  writeHead(body.subarray(batchAt, end), request);
  return body.subarray(0, end);
}

/** Once the batch's records stand in it. */
function writeHead(batch: Buffer, { records, timeMs, producerId, producerEpoch, firstSequence }: ProduceRequest): void {
  const time = BigInt(timeMs);
  let at = batch.writeBigInt64BE(0n, 0); // offset: the broker's to give
  at = batch.writeInt32BE(batch.length - LENGTH_END, at);
  at = batch.writeInt32BE(0, at); // leader epoch: likewise
  batch.writeInt8(MAGIC, at);
  at = batch.writeInt16BE(records.codec, CHECKED_OFFSET);
  at = batch.writeInt32BE(records.count - 1, at); // the last offset, from the first
  at = batch.writeBigInt64BE(time, at);
  at = batch.writeBigInt64BE(time, at);
  at = batch.writeBigInt64BE(BigInt(producerId), at);
  at = batch.writeInt16BE(producerEpoch, at);
  at = batch.writeInt32BE(firstSequence, at);
  batch.writeInt32BE(records.count, at);
  batch.writeUInt32BE(crc32c(batch, CHECKED_OFFSET), CHECKSUM_OFFSET);
}

/** The sequence number behind `count` messages: brokers count in 31 bits. */
export function sequenceAfter(firstSequence: number, count: number): number {
  return (firstSequence + count) % 2 ** 31;
}
