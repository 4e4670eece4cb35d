/** The part of RFC 6455 that a load generator needs: masked text frames out, unmasked frames in, the handshake. */

export const OPCODE_TEXT = 1;

const FINAL = 0x80;
const MASKED = 0x80;
/** The largest payload whose length stands in two bytes. */
const LENGTH16_MAX = 0xffff;

export interface ClientFrame {
  readonly bytes: Uint8Array;
  readonly payloadOffset: number;
  /** Four bytes. */
  readonly key: Uint8Array;
}

/** A final text frame from client to server, masked with `maskKey` (32 bits). The payload is at most 65,535 bytes. */
export function clientFrame(payload: Uint8Array, maskKey: number): ClientFrame {
  if (payload.length > LENGTH16_MAX) throw new RangeError(`a payload of ${payload.length} bytes is too long`);
  const isShort = payload.length < 126;
  const payloadOffset = isShort ? 6 : 8;
  const bytes = Buffer.alloc(payloadOffset + payload.length);
  bytes[0] = FINAL | OPCODE_TEXT;
  bytes[1] = MASKED | (isShort ? payload.length : 126);
  if (!isShort) bytes.writeUInt16BE(payload.length, 2);
  bytes.writeUInt32BE(maskKey >>> 0, payloadOffset - 4);
  const key = bytes.slice(payloadOffset - 4, payloadOffset);
  for (let at = 0; at < payload.length; at++) {
    bytes[payloadOffset + at] = (payload[at] as number) ^ (key[at & 3] as number);
  }
  return { bytes, payloadOffset, key: Uint8Array.from(key) };
}

/** Where the first client frame in `bytes` ends; undefined when its length has not come whole. For payloads under 64 KiB. */
export function clientFrameEnd(bytes: Buffer): number | undefined {
  if (bytes.length < 4) return undefined;
  const length = (bytes[1] as number) & 0x7f;
  return length < 126 ? 6 + length : 8 + bytes.readUInt16BE(2);
}

/** What a client sends to become a WebSocket. */
export function handshakeRequest(host: string, path: string): Uint8Array {
  const key = Buffer.from(crypto.getRandomValues(new Uint8Array(16))).toString('base64');
  return Buffer.from(
    [
      `GET ${path} HTTP/1.1`,
      `Host: ${host}`,
      'Upgrade: websocket',
      'Connection: Upgrade',
      `Sec-WebSocket-Key: ${key}`,
      'Sec-WebSocket-Version: 13',
      '',
      '',
    ].join('\r\n'),
  );
}

/** The payload stands in `bytes` from `start` to `end`, and is gone when the call returns. */
export type OnFrame = (opcode: number, bytes: Buffer, start: number, end: number) => void;

export interface FrameReader {
  /** Throws when what comes is no sequence of whole, unmasked frames of less than 64 KiB. */
  read(chunk: Uint8Array): void;
}

export function createFrameReader(onFrame: OnFrame): FrameReader {
  let rest: Buffer | undefined;

  return {
    read(chunk) {
      const fresh = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
      const bytes = rest === undefined ? fresh : Buffer.concat([rest, fresh]);
      const used = readFrames(bytes, onFrame);
      // What the socket gave is only ours during the call.
      rest = used === bytes.length ? undefined : Buffer.from(bytes.subarray(used));
    },
  };
}

/** Reads the whole frames; returns how many bytes they took. */
function readFrames(bytes: Buffer, onFrame: OnFrame): number {
  let at = 0;
  while (bytes.length - at >= 2) {
    const first = bytes[at] as number;
    const second = bytes[at + 1] as number;
    if ((first & FINAL) === 0) throw new Error('a fragmented message came, which no server under test sends');
    if ((second & MASKED) !== 0) throw new Error('a masked frame came from the server');
    let length = second & 0x7f;
    let start = at + 2;
    if (length === 127) throw new Error('a frame of 64 KiB or more came');
    if (length === 126) {
      if (bytes.length - at < 4) break;
      length = bytes.readUInt16BE(at + 2);
      start = at + 4;
    }
    const end = start + length;
    if (end > bytes.length) break;
    onFrame(first & 0x0f, bytes, start, end);
    at = end;
  }
  return at;
}
