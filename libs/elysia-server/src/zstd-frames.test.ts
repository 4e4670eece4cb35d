import { describe, expect, test } from 'bun:test';
import zlib from 'node:zlib';
import fc from 'fast-check';
import { createZstdFrames } from './zstd-frames.ts';

const position = (bytes: Uint8Array) => createZstdFrames().push(bytes);
const compress = (data: Uint8Array, checksum: boolean) =>
  zlib.zstdCompressSync(data, { params: { [zlib.constants.ZSTD_c_checksumFlag]: checksum ? 1 : 0 } });

const bodies = fc.oneof(
  fc.uint8Array({ maxLength: 300 }),
  // Several blocks, and blocks of one repeated byte.
  fc.integer({ min: 0, max: 400_000 }).map((length) => new Uint8Array(length).fill(7)),
  fc
    .integer({ min: 0, max: 300_000 })
    .map((length) => Uint8Array.from({ length }, (_, at) => (at * 2654435761) >>> 24)),
);

describe('zstd frames', () => {
  test('whole frames end, in pieces of any size, one or several', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(bodies, fc.boolean()), { minLength: 1, maxLength: 3 }),
        fc.nat(5000),
        (parts, cut) => {
          const bytes = Buffer.concat(parts.map(([data, checksum]) => compress(data, checksum)));
          const frames = createZstdFrames();
          const step = cut + 1;
          let last = 'inside';
          for (let at = 0; at < bytes.length; at += step) last = frames.push(bytes.subarray(at, at + step));
          expect(last).toBe('end');
        },
      ),
      { numRuns: 60 },
    );
  });

  test('a frame that is cut anywhere is never at its end', () => {
    for (const checksum of [true, false]) {
      const bytes = compress(Buffer.from('{"eventId":"a"}'.repeat(20)), checksum);
      for (let length = 1; length < bytes.length; length += 1) {
        expect(position(bytes.subarray(0, length))).toBe('inside');
      }
    }
  });

  test('something else behind a frame is not its end', () => {
    const bytes = compress(Buffer.from('hello'), true);
    expect(position(Buffer.concat([bytes, Buffer.from('trailing')]))).toBe('invalid');
    expect(position(Buffer.concat([bytes, Buffer.from('tr')]))).toBe('inside');
    expect(position(Buffer.from('nothing like it'))).toBe('invalid');
  });

  test('skippable frames are skipped', () => {
    const skippable = Buffer.from([0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3]);
    expect(position(Buffer.concat([skippable, compress(Buffer.from('hello'), false), skippable]))).toBe('end');
    expect(position(skippable.subarray(0, 10))).toBe('inside');
  });
});
