/** Which partition a key belongs to: as Kafka's own Java client decides it by its bytes in UTF-8, so that every producer agrees. */
import { isAscii } from './kafka-text.ts';

const SEED = 0x9747b28c;
const MULTIPLIER = 0x5bd1e995;

/** The partition of a key among `partitions` (at least 1), from 0. */
export function partitionOf(key: string, partitions: number): number {
  return (murmur2(isAscii(key) ? key : Buffer.from(key).toString('latin1')) & 0x7fffffff) % partitions;
}

/** MurmurHash2, 32 bits, with Kafka's seed, over a text whose characters are bytes. https://kafka.apache.org/documentation/#producerconfigs_partitioner.class */
function murmur2(bytes: string): number {
  const { length } = bytes;
  const whole = length & ~3;
  const byte = (at: number): number => bytes.charCodeAt(at);
  let hash = SEED ^ length;
  for (let at = 0; at < whole; at += 4) {
    let word = byte(at) | (byte(at + 1) << 8) | (byte(at + 2) << 16) | (byte(at + 3) << 24);
    word = Math.imul(word, MULTIPLIER);
    word = Math.imul(word ^ (word >>> 24), MULTIPLIER);
    hash = Math.imul(hash, MULTIPLIER) ^ word;
  }
  if (whole < length) {
    for (let at = length - 1; at >= whole; at--) hash ^= byte(at) << ((at - whole) * 8);
    hash = Math.imul(hash, MULTIPLIER);
  }
  hash = Math.imul(hash ^ (hash >>> 13), MULTIPLIER);
  return hash ^ (hash >>> 15);
}
