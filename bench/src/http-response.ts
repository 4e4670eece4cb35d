/** Reads HTTP/1.1 responses that carry a Content-Length, or an empty body in chunks: what is needed to count them and no more. */

const NOTHING = Buffer.alloc(0);
const CR = 13;
const HEAD_BYTES_MAX = 16 * 1024;
/** Of a body: enough for a status, counts and the beginning of a message. */
const BODY_SHOWN_BYTES = 512;
const HEAD_END = Buffer.from('\r\n\r\n');
const CONTENT_LENGTH = Buffer.from('content-length:');
const IN_CHUNKS = Buffer.from('transfer-encoding: chunked');
/** An empty body in chunks; a longer one is not read, and what follows is then no response. */
const NO_CHUNKS = '0\r\n\r\n';

/** Called when a response is complete. The beginning of its body stands in `bytes`, and is gone afterwards. */
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
  /** The beginning of a body of which not everything has come. */
  let begun: Buffer = NOTHING;
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
          bodyMissing = status === 101 ? 0 : readBodyLength(bytes, at, headEnd);
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
        if (bodyMissing > 0 || begun.length > 0) {
          const room = BODY_SHOWN_BYTES - begun.length;
          if (room > 0) begun = Buffer.concat([begun, bytes.subarray(at - taken, at - taken + Math.min(taken, room))]);
        }
        if (bodyMissing > 0) break;
        if (begun.length === 0) onResponse(status, bytes, at - taken, Math.min(at, at - taken + BODY_SHOWN_BYTES));
        else onResponse(status, begun, 0, begun.length);
        begun = NOTHING;
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

function readBodyLength(bytes: Buffer, from: number, headEnd: number): number {
  for (let line = bytes.indexOf(CR, from); line >= 0 && line < headEnd; line = bytes.indexOf(CR, line + 2)) {
    let at = line + 2;
    if (startsWithIgnoringCase(bytes, at, IN_CHUNKS)) return NO_CHUNKS.length;
    if (!startsWithIgnoringCase(bytes, at, CONTENT_LENGTH)) continue;
    at += CONTENT_LENGTH.length;
    while (bytes[at] === 32) at += 1;
    let length = 0;
    for (; bytes[at] !== CR; at++) length = length * 10 + digit(bytes[at]);
    return length;
  }
  throw new Error('a response came without Content-Length, and not in chunks');
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
