import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { crc32c } from './kafka-crc32c.ts';

/** By the definition, bit by bit. */
function reference(bytes: Uint8Array): number {
  let crc = -1;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
  }
  return ~crc >>> 0;
}

/** https://www.rfc-editor.org/rfc/rfc3720#appendix-B.4, and the check value of the catalogues. */
test.each([
  ['zeros', new Uint8Array(32), 0x8a9136aa],
  ['ones', new Uint8Array(32).fill(0xff), 0x62a8ab43],
  ['ascending', Uint8Array.from({ length: 32 }, (_, at) => at), 0x46dd794e],
  ['descending', Uint8Array.from({ length: 32 }, (_, at) => 31 - at), 0x113fdb5c],
  ['123456789', Buffer.from('123456789'), 0xe3069283],
  ['nothing', new Uint8Array(0), 0],
])('what others publish: %s', (_name, bytes, expected) => {
  expect(crc32c(bytes)).toBe(expected);
});

test('any bytes, from any offset', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), fc.nat({ max: 110 }), (bytes, from) => {
      expect(crc32c(bytes, from)).toBe(reference(bytes.subarray(from)));
    }),
    { numRuns: 1_000 },
  );
});
