/** Reads HTTP/1.1 responses that carry a Content-Length: what is needed to count them and no more. */

const NOTHING = Buffer.alloc(0);
const CR = 13;
const HEAD_BYTES_MAX = 16 * 1024;
const HEAD_END = Buffer.from('\r\n\r\n');
const CONTENT_LENGTH = Buffer.from('content-length:');

/** Called when a response is complete. What has come of its body in the last read stands in `bytes`, and is gone afterwards. */
export type OnResponse = (status: number, bytes: Buffer, bodyStart: number, bodyEnd: number) => void;

export interface ResponseReader {
  /** Throws when what comes is no response with a Content-Length. */
  read(chunk: Uint8Array): void;
  /** Ends the reading of responses and gives what came after the last one: what an upgraded connection needs. */
  takeRest(): Uint8Array;
}

export function createResponseReader(onResponse: OnResponse): ResponseReader {
  let rest: Buffer = NOTHING;
  /** Bytes of a body that have not come yet; its status is reported when they have. */
  let bodyMissing = 0;
  let status = 0;

  return {
    read(chunk) {
      const fresh = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
      const bytes = rest.length === 0 ? fresh : Buffer.concat([rest, fresh]);
      let at = 0;
      while (at < bytes.length) {
        if (bodyMissing === 0) {
          const headEnd = bytes.indexOf(HEAD_END, at);
          if (headEnd < 0) break;
          status = readStatus(bytes, at);
          bodyMissing = status === 101 ? 0 : readContentLength(bytes, at, headEnd);
          at = headEnd + HEAD_END.length;
          if (status === 101) {
            // From here on the bytes belong to another protocol.
            onResponse(status, bytes, at, at);
            break;
          }
        }
        const taken = Math.min(bodyMissing, bytes.length - at);
        at += taken;
        bodyMissing -= taken;
        if (bodyMissing > 0) break;
        onResponse(status, bytes, at - taken, at);
      }
      if (bodyMissing === 0 && bytes.length - at > HEAD_BYTES_MAX) throw new Error('no head of a response ends');
      rest = at === bytes.length ? NOTHING : Buffer.from(bytes.subarray(at));
    },
    takeRest() {
      const taken = rest;
      rest = NOTHING;
      return taken;
    },
  };
}

function readStatus(bytes: Buffer, at: number): number {
  // "HTTP/1.1 202 Accepted"
  if (bytes[at] !== 72 || bytes[at + 8] !== 32) throw new Error('what came is no HTTP/1.1 response');
  return digit(bytes[at + 9]) * 100 + digit(bytes[at + 10]) * 10 + digit(bytes[at + 11]);
}

function readContentLength(bytes: Buffer, from: number, headEnd: number): number {
  for (let line = bytes.indexOf(CR, from); line >= 0 && line < headEnd; line = bytes.indexOf(CR, line + 2)) {
    let at = line + 2;
    if (!startsWithIgnoringCase(bytes, at, CONTENT_LENGTH)) continue;
    at += CONTENT_LENGTH.length;
    while (bytes[at] === 32) at += 1;
    let length = 0;
    for (; bytes[at] !== CR; at++) length = length * 10 + digit(bytes[at]);
    return length;
  }
  throw new Error('a response came without Content-Length');
}

function startsWithIgnoringCase(bytes: Buffer, at: number, lowerCase: Buffer): boolean {
  for (let index = 0; index < lowerCase.length; index++) {
    if (((bytes[at + index] ?? 0) | 32) !== ((lowerCase[index] as number) | 32)) return false;
  }
  return true;
}

function digit(byte: number | undefined): number {
  const value = (byte ?? 0) - 48;
  if (value < 0 || value > 9) throw new Error('a number in the head of a response is none');
  return value;
}
