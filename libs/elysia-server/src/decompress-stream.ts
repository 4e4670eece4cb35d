/** Decompression piece by piece: bounded memory, whatever the whole comes to. */
import { once } from 'node:events';
import zlib from 'node:zlib';
import type { ContentEncoding } from './content-encoding.ts';
import { asHttpError, isZlib, malformed, truncated, ZSTD_WINDOW_LOG_MAX } from './decompress.ts';
import { HttpError } from './http-error.ts';
import { createZstdFrames, type ZstdPosition } from './zstd-frames.ts';

/**
 * Real event streams shrink about 10 times, made-up ones that only count up to 430; bombs 1,028 times (gzip, deflate) to
 * 660,000 (brotli). Judged once there is enough to judge by.
 */
const EXPANSION_MAX = 1000;
const EXPANSION_FREE_BYTES = 16 * 1024 * 1024;

/** So many tell the two kinds of deflate apart. */
const FORMAT_BYTES = 2;

type Decoder = zlib.Gunzip | zlib.Inflate | zlib.BrotliDecompress | zlib.ZstdDecompress;

interface Feed {
  inputBytes: number;
  failure: unknown;
}

/**
 * Yields what `source` decodes to, in chunks of at most `chunkBytes`; reads on only as fast as the caller does.
 * Throws 400 `truncated` or `malformed_encoding`, 413 `payload_too_large` for a body that expands like a bomb, and
 * whatever `source` throws.
 */
export async function* decompressStream(
  source: AsyncIterable<Uint8Array>,
  encoding: ContentEncoding,
  chunkBytes: number,
): AsyncGenerator<Uint8Array> {
  const iterator = source[Symbol.asyncIterator]();
  const first = await takeAtLeast(iterator, FORMAT_BYTES);
  if (first.length === 0) throw truncated(encoding);
  const decoder = createDecoder(encoding, first, chunkBytes);
  const feed: Feed = { inputBytes: 0, failure: undefined };
  const fed = feedDecoder(decoder, first, iterator, encoding, feed);
  let outputBytes = 0;
  try {
    for await (const chunk of decoder as AsyncIterable<Uint8Array>) {
      outputBytes += chunk.length;
      checkExpansion(feed.inputBytes, outputBytes);
      yield chunk;
    }
    await fed;
    if (feed.failure !== undefined) throw feed.failure;
    if (decoder.bytesWritten !== feed.inputBytes) throw malformed(encoding, 'there are bytes behind its end');
  } catch (error) {
    // A failure of the source destroys the decoder, which then only says that it was aborted.
    if (feed.failure !== undefined) throw feed.failure;
    if (error instanceof HttpError) throw error;
    throw asHttpError(error, encoding, 0);
  } finally {
    decoder.destroy();
    // Not awaited: the source may just be waiting for a peer that stalls.
    fed.then(() => iterator.return?.()).catch(ignore);
  }
}

async function takeAtLeast(iterator: AsyncIterator<Uint8Array>, bytes: number): Promise<Uint8Array> {
  let taken: Uint8Array = new Uint8Array(0);
  while (taken.length < bytes) {
    const next = await iterator.next();
    if (next.done === true) return taken;
    taken = taken.length === 0 ? next.value : Buffer.concat([taken, next.value]);
  }
  return taken;
}

function createDecoder(encoding: ContentEncoding, first: Uint8Array, chunkBytes: number): Decoder {
  const options = { chunkSize: Math.max(1024, chunkBytes) };
  if (encoding === 'gzip') return zlib.createGunzip(options);
  if (encoding === 'br') return zlib.createBrotliDecompress(options);
  if (encoding === 'zstd') {
    return zlib.createZstdDecompress({
      ...options,
      params: { [zlib.constants.ZSTD_d_windowLogMax]: ZSTD_WINDOW_LOG_MAX },
    });
  }
  return isZlib(first) ? zlib.createInflate(options) : zlib.createInflateRaw(options);
}

/** Writes the source into the decoder at the decoder's pace. Never rejects: a failure stands in `feed`. */
async function feedDecoder(
  decoder: Decoder,
  first: Uint8Array,
  iterator: AsyncIterator<Uint8Array>,
  encoding: ContentEncoding,
  feed: Feed,
): Promise<void> {
  const frames = encoding === 'zstd' ? createZstdFrames() : undefined;
  let position: ZstdPosition = 'end';
  try {
    let next: IteratorResult<Uint8Array> = { done: false, value: first };
    while (next.done !== true) {
      if (decoder.readableEnded) throw malformed(encoding, 'there are bytes behind its end');
      if (decoder.destroyed) return;
      feed.inputBytes += next.value.length;
      if (frames !== undefined) position = frames.push(next.value);
      if (position === 'invalid') throw malformed(encoding, 'it is not a sequence of frames');
      if (!decoder.write(next.value)) await settled(decoder);
      next = await iterator.next();
    }
    if (position === 'inside') throw truncated(encoding);
    decoder.end();
  } catch (error) {
    feed.failure = error;
    decoder.destroy();
  }
}

/** Resolves when the decoder wants more, or nothing any more. */
async function settled(decoder: Decoder): Promise<void> {
  if (decoder.destroyed || !decoder.writableNeedDrain) return;
  const over = new AbortController();
  const { signal } = over;
  // `once` rejects when its signal aborts; that is how the two waits that lost are ended.
  const waits = ['drain', 'close', 'end'].map((event) => once(decoder, event, { signal }));
  await Promise.race(waits.map((wait) => wait.then(ignore, ignore)));
  over.abort();
}

function ignore(): void {}

function checkExpansion(inputBytes: number, outputBytes: number): void {
  if (outputBytes <= EXPANSION_FREE_BYTES || outputBytes <= inputBytes * EXPANSION_MAX) return;
  throw new HttpError(413, 'payload_too_large', `The body expands to more than ${EXPANSION_MAX} times its size.`, {
    details: { expansionMax: EXPANSION_MAX },
  });
}
