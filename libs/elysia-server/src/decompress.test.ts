import { describe, expect, test } from 'bun:test';
import zlib from 'node:zlib';
import fc from 'fast-check';
import { CONTENT_ENCODINGS, type ContentEncoding } from './content-encoding.ts';
import { decompress } from './decompress.ts';
import { decompressStream } from './decompress-stream.ts';
import { HttpError } from './http-error.ts';

const compress: Record<ContentEncoding, (data: Uint8Array) => Buffer> = {
  gzip: (data) => zlib.gzipSync(data),
  deflate: (data) => zlib.deflateSync(data),
  br: (data) => zlib.brotliCompressSync(data, { params: { [zlib.constants.BROTLI_PARAM_QUALITY]: 4 } }),
  zstd: (data) => zlib.zstdCompressSync(data),
};

const BYTES_MAX = 1_000_000;
const EVENT = Buffer.from('{"eventId":"0198c0de","storeId":"store-1","data":{"sku":"abc","quantity":2}}');

async function* inPieces(bytes: Uint8Array, step: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += step) yield bytes.subarray(at, at + step);
}

async function streamed(bytes: Uint8Array, encoding: ContentEncoding, step = 1000): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of decompressStream(inPieces(bytes, step), encoding, 4096)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

type Reader = (bytes: Uint8Array, encoding: ContentEncoding) => Promise<Uint8Array>;
const readers: [string, Reader][] = [
  ['whole', (bytes, encoding) => decompress(bytes, encoding, BYTES_MAX)],
  ['streamed', (bytes, encoding) => streamed(bytes, encoding)],
  ['streamed by the byte', (bytes, encoding) => streamed(bytes, encoding, 1)],
];

async function codeOf(reading: Promise<unknown>): Promise<string> {
  try {
    await reading;
    return 'none';
  } catch (error) {
    if (error instanceof HttpError) return `${error.status} ${error.code}`;
    throw error;
  }
}

describe.each([...CONTENT_ENCODINGS])('%s', (encoding) => {
  describe.each(readers)('%s', (name, read) => {
    const runs = name === 'streamed by the byte' ? 15 : 60;
    const bodies = fc.oneof(
      fc.uint8Array({ maxLength: 2000 }),
      fc.nat(3000).map((length) => new Uint8Array(length)),
    );

    test('any bytes come back as they were', async () => {
      await fc.assert(
        fc.asyncProperty(bodies, async (data) => {
          expect(Buffer.from(await read(compress[encoding](data), encoding)).equals(Buffer.from(data))).toBe(true);
        }),
        { numRuns: runs },
      );
    });

    test('a body that is cut anywhere is refused, never read as a shorter one', async () => {
      const bytes = compress[encoding](EVENT);
      const step = name === 'streamed by the byte' ? 7 : 1;
      for (let length = 0; length < bytes.length; length += step) {
        expect(await codeOf(read(bytes.subarray(0, length), encoding))).toMatch(/^400 (truncated|malformed_encoding)$/);
      }
    });

    test('bytes behind the end are refused', async () => {
      const bytes = Buffer.concat([compress[encoding](EVENT), Buffer.from('more')]);
      expect(await codeOf(read(bytes, encoding))).toMatch(/^400 (truncated|malformed_encoding)$/);
    });

    test('a flipped byte gives an error, or what the format cannot tell; never another kind of failure', async () => {
      const bytes = compress[encoding](EVENT);
      for (let at = 0; at < bytes.length; at += 3) {
        const flipped = Buffer.from(bytes);
        flipped[at] = (flipped[at] as number) ^ 0xff;
        expect(await codeOf(read(flipped, encoding))).toMatch(/^(none|400 truncated|400 malformed_encoding)$/);
      }
    });

    test('noise gives an error', async () => {
      await fc.assert(
        fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 200 }), async (noise) => {
          expect(await codeOf(read(noise, encoding))).toMatch(/^(none|400 truncated|400 malformed_encoding|413 .*)$/);
        }),
        { numRuns: runs },
      );
    });
  });

  test('the limit is exact, inline and in the pool', async () => {
    for (const length of [1000, 60_000, 300_000]) {
      const bytes = compress[encoding](Buffer.alloc(length, 'x'));
      expect(await decompress(bytes, encoding, length)).toHaveLength(length);
      expect(await codeOf(decompress(bytes, encoding, length - 1))).toBe('413 payload_too_large');
    }
  });

  test('a stream is refused once it expands like a bomb', async () => {
    const bytes = compress[encoding](Buffer.alloc(40 * 1024 * 1024));
    expect(await codeOf(streamed(bytes, encoding))).toBe('413 payload_too_large');
  });

  test('what goes wrong in the source is what the reader hears, also in the middle', async () => {
    async function* broken(): AsyncGenerator<Uint8Array> {
      yield compress[encoding](EVENT).subarray(0, 20);
      throw new HttpError(408, 'request_timeout', 'too slow');
    }
    const reading = (async () => {
      for await (const _ of decompressStream(broken(), encoding, 4096));
    })();
    expect(await codeOf(reading)).toBe('408 request_timeout');
  });

  test('a reader that leaves early ends the source', async () => {
    const source = { ended: false };
    async function* endless(): AsyncGenerator<Uint8Array> {
      try {
        for (;;) yield compress[encoding](EVENT);
      } finally {
        source.ended = true;
      }
    }
    for await (const _ of decompressStream(endless(), encoding, 4096)) break;
    while (!source.ended) await Bun.sleep(1);
    expect(source.ended).toBe(true);
  });
});

test('deflate without the zlib header is understood', async () => {
  const bytes = zlib.deflateRawSync(EVENT);
  expect(Buffer.from(await decompress(bytes, 'deflate', BYTES_MAX)).equals(EVENT)).toBe(true);
  expect(Buffer.from(await streamed(bytes, 'deflate')).equals(EVENT)).toBe(true);
});

test('several gzip members and zstd frames are one body', async () => {
  for (const encoding of ['gzip', 'zstd'] as const) {
    const bytes = Buffer.concat([compress[encoding](EVENT), compress[encoding](EVENT)]);
    for (const [, read] of readers) expect(await read(bytes, encoding)).toHaveLength(2 * EVENT.length);
  }
});

test('a zstd frame that asks for a window past 16 MiB is refused', async () => {
  const noise = new Uint8Array(100);
  const params = { [zlib.constants.ZSTD_c_windowLog]: 27, [zlib.constants.ZSTD_c_contentSizeFlag]: 0 };
  const encoder = zlib.createZstdCompress({ params });
  const pieces: Uint8Array[] = [];
  encoder.on('data', (piece: Uint8Array) => pieces.push(piece));
  encoder.write(noise);
  encoder.end();
  await new Promise((resolve) => encoder.on('end', resolve));
  const bytes = Buffer.concat(pieces);
  expect(await codeOf(decompress(bytes, 'zstd', BYTES_MAX))).toBe('400 malformed_encoding');
  expect(await codeOf(streamed(bytes, 'zstd'))).toBe('400 malformed_encoding');
});
