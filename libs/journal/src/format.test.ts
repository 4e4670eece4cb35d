import { expect, test } from 'bun:test';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  checksum,
  decodeSegmentHeader,
  encodeSegmentHeader,
  frameBytes,
  isIntact,
  isPlausible,
  readFrameHeader,
  type SegmentHeader,
  sealFrame,
} from './format.ts';
import { decodeColumn, encodeColumn } from './id-column.ts';

const HEADER: SegmentHeader = {
  journal: '0192d5a0-1111-7222-8333-944444444444',
  segment: 7,
  salt: 0xdead_beef_cafe_baben,
  firstFrame: 1_000_001,
  firstSeq: 2 ** 40,
  timeMs: 1_790_000_000_000,
  secretCheck: 0x0102_0304_0506_0708n,
};

/** The rows of one table of the format's page: field text → offset and length. */
function documented(name: string): Map<string, { offset: number; bytes: number }> {
  const page = readFileSync(join(import.meta.dir, '../docs/format.md'), 'utf8');
  const table = page.split(`<!-- table: ${name} -->`)[1]?.split('\n\n')[0] ?? '';
  const rows = [...table.matchAll(/^\| (\d+) +\| (\d+)(?: each)? +\| (.+?) +\|$/gm)];
  return new Map(
    rows.map(([, offset, bytes, field]) => [field as string, { offset: Number(offset), bytes: Number(bytes) }]),
  );
}

function field(bytes: Uint8Array, table: string, starts: string): bigint {
  const [, place] = [...documented(table)].find(([name]) => name.startsWith(starts)) ?? [];
  if (place === undefined) throw new Error(`the page has no field "${starts}" in ${table}`);
  const data = new DataView(bytes.buffer, bytes.byteOffset);
  return place.bytes === 4 ? BigInt(data.getUint32(place.offset, true)) : data.getBigUint64(place.offset, true);
}

test('a segment header is what the page says, and comes back as it was', () => {
  const bytes = encodeSegmentHeader(HEADER);
  expect(bytes.byteLength).toBe(4096);
  expect(Buffer.from(bytes.subarray(0, 8)).toString()).toBe('WEIRJRNL');
  expect(field(bytes, 'segment header', 'format version')).toBe(1n);
  expect(field(bytes, 'segment header', 'size of this header')).toBe(4096n);
  expect(field(bytes, 'segment header', 'segment number')).toBe(7n);
  expect(field(bytes, 'segment header', 'salt')).toBe(HEADER.salt);
  expect(field(bytes, 'segment header', 'number of the first frame')).toBe(1_000_001n);
  expect(field(bytes, 'segment header', 'sequence number of the first event')).toBe(2n ** 40n);
  expect(field(bytes, 'segment header', 'frame time')).toBe(1_790_000_000_000n);
  expect(field(bytes, 'segment header', 'XXH3-64 of `secret`')).toBe(HEADER.secretCheck);
  expect(field(bytes, 'segment header', 'XXH3-64 of bytes')).toBe(checksum(bytes.subarray(0, 80), 0n));
  expect(decodeSegmentHeader(bytes)).toEqual(HEADER);
});

test('a header that is foreign, newer or damaged says so', () => {
  expect(decodeSegmentHeader(new Uint8Array(4096))).toBe('foreign');
  const newer = encodeSegmentHeader(HEADER);
  newer[8] = 2;
  expect(decodeSegmentHeader(newer)).toBe('newer');
  for (let at = 12; at < 88; at++) {
    const bitten = encodeSegmentHeader(HEADER);
    bitten[at] = (bitten[at] as number) ^ 0x40;
    expect(decodeSegmentHeader(bitten)).toBe('damaged');
  }
});

test('a frame is what the page says; any flipped bit makes it invalid, and so does another salt', () => {
  const payload = Buffer.from('{"a":1}\n{"b":2}\n');
  const frame = new Uint8Array(frameBytes(payload.byteLength, 2));
  frame.set(payload, 56);
  frame.fill(9, frame.byteLength - 32);
  sealFrame(frame, {
    count: 2,
    salt: HEADER.salt,
    number: 5,
    firstSeq: 11,
    timeMs: 99,
    payloadBytes: payload.byteLength,
  });
  expect(field(frame, 'frame', 'length of the frame')).toBe(BigInt(frame.byteLength));
  expect(field(frame, 'frame', 'number of events')).toBe(2n);
  expect(field(frame, 'frame', 'salt')).toBe(HEADER.salt);
  expect(field(frame, 'frame', 'frame number')).toBe(5n);
  expect(field(frame, 'frame', 'sequence number')).toBe(11n);
  expect(field(frame, 'frame', 'frame time')).toBe(99n);
  expect(field(frame, 'frame', 'length of the payload')).toBe(BigInt(payload.byteLength));
  expect(field(frame, 'frame', 'checksum')).toBe(checksum(frame.subarray(8), HEADER.salt));
  const isValid = (bytes: Uint8Array, salt: bigint): boolean => {
    const header = readFrameHeader(bytes);
    return isPlausible(header, salt, bytes.byteLength) && isIntact(bytes, header);
  };
  expect(isValid(frame, HEADER.salt)).toBe(true);
  expect(isValid(frame, HEADER.salt ^ (1n << 40n))).toBe(false);
  for (let bit = 0; bit < frame.byteLength * 8; bit++) {
    const bitten = frame.slice();
    bitten[bit >> 3] = (bitten[bit >> 3] as number) ^ (1 << (bit & 7));
    expect(isValid(bitten, HEADER.salt)).toBe(false);
  }
});

test('an id column is what the page says; a damaged or cut one is none', () => {
  const column = {
    journal: HEADER.journal,
    segment: 3,
    firstSeq: 41,
    ids: new Uint8Array(32).fill(7),
    marks: [
      { endSeq: 42, timeMs: 5 },
      { endSeq: 43, timeMs: 6 },
    ],
  };
  const bytes = encodeColumn(column);
  expect(Buffer.from(bytes.subarray(0, 8)).toString()).toBe('WEIRIDS1');
  expect(field(bytes, 'id column', 'segment number')).toBe(3n);
  expect(field(bytes, 'id column', 'sequence number of the first id')).toBe(41n);
  expect(field(bytes, 'id column', 'number of ids')).toBe(2n);
  expect(field(bytes, 'id column', 'number of marks')).toBe(2n);
  expect(field(bytes, 'id column', 'marks')).toBe(42n);
  expect(decodeColumn(bytes)).toEqual(column);
  for (let at = 0; at < bytes.byteLength; at++) {
    const bitten = bytes.slice();
    bitten[at] = (bitten[at] as number) ^ 0x08;
    expect(decodeColumn(bitten)).toBeUndefined();
    expect(decodeColumn(bytes.slice(0, at))).toBeUndefined();
  }
});
