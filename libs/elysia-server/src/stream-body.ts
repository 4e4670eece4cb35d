/** The body piece by piece: memory stays bounded however long it is. */
import { abandon, type BodyReader, ReadWait, readFailure, requestTimeout } from './body-wait.ts';
import { type ContentEncoding, contentEncodingOf } from './content-encoding.ts';
import { payloadTooLarge } from './decompress.ts';
import { decompressStream } from './decompress-stream.ts';
import { declaredLengthOf } from './read-body.ts';
import { hostOf, markAbandoned, originalOf } from './request-context.ts';

export interface StreamBodyOptions {
  /** Bytes as sent, and again bytes after decompression; unlimited when absent. */
  readonly bytesMax?: number;
  /** Milliseconds that we wait for the peer before `PROGRESS_BYTES_MIN` more bytes have come. */
  readonly timeoutMs: number;
  /** No chunk is larger. */
  readonly chunkBytesMax: number;
}

/** A peer that sends a byte now and then makes no progress: it holds a connection. A small event is about this long. */
const PROGRESS_BYTES_MIN = 256;

/**
 * Yields the decompressed body; the peer is read only as fast as the caller takes the chunks. Throws as `readBody` does,
 * and 413 `payload_too_large` too for a compressed body that expands like a bomb.
 */
export async function* streamBody(request: Request, options: StreamBodyOptions): AsyncGenerator<Uint8Array> {
  const encoding = contentEncodingOf(request);
  const { chunkBytesMax } = options;
  const bytesMax = options.bytesMax ?? Number.POSITIVE_INFINITY;
  if ((declaredLengthOf(request) ?? 0) > bytesMax) throw payloadTooLarge(bytesMax);
  let bytes = 0;
  for await (const chunk of decoded(request, encoding, options.timeoutMs, bytesMax, chunkBytesMax)) {
    bytes += chunk.length;
    if (bytes > bytesMax) throw payloadTooLarge(bytesMax);
    for (let at = 0; at < chunk.length; at += chunkBytesMax) yield chunk.subarray(at, at + chunkBytesMax);
  }
}

function decoded(
  request: Request,
  encoding: ContentEncoding | undefined,
  timeoutMs: number,
  bytesMax: number,
  chunkBytesMax: number,
): AsyncGenerator<Uint8Array> {
  const sent = readChunks(request, timeoutMs, bytesMax);
  return encoding === undefined ? sent : decompressStream(sent, encoding, chunkBytesMax);
}

/** The idle timeout is off for the whole stream, not for single waits. */
class StreamWait extends ReadWait {
  override slow(): void {}
}

/** The bytes as sent, in the pieces in which they arrive (up to about 1 MiB). */
async function* readChunks(request: Request, timeoutMs: number, bytesMax: number): AsyncGenerator<Uint8Array> {
  const { body } = request;
  if (body === null) return;
  const host = hostOf(request);
  const reader = body.getReader() as BodyReader;
  // Bun counts its idle timeout from the headers on, whatever arrives: a long stream would be cut off.
  host?.setIdleTimeout(originalOf(request), 0);
  let bytes = 0;
  let progressBytes = 0;
  let leftMs = timeoutMs;
  let isComplete = false;
  try {
    for (;;) {
      const wait = new StreamWait(request, host, leftMs, reader);
      const { done, value } = await reader.read().finally(() => {
        leftMs = wait.end();
      });
      if (leftMs === 0) throw requestTimeout(timeoutMs);
      if (done) {
        isComplete = true;
        return;
      }
      bytes += value.length;
      if (bytes > bytesMax) throw payloadTooLarge(bytesMax);
      progressBytes += value.length;
      if (progressBytes >= PROGRESS_BYTES_MIN) {
        progressBytes = 0;
        leftMs = timeoutMs;
      }
      yield value;
    }
  } catch (error) {
    throw readFailure(error);
  } finally {
    if (!isComplete) {
      abandon(reader);
      markAbandoned(request);
    }
    host?.resetIdleTimeout(originalOf(request));
  }
}
