/** Where bytes stop being UTF-8 (RFC 3629: no overlong forms, no surrogates, nothing past U+10FFFF). */

/** The offset of the first byte of the first bad or cut-off sequence; −1 when all of it is UTF-8. */
export function findUtf8Error(bytes: Uint8Array): number {
  let at = 0;
  while (at < bytes.length) {
    const lead = bytes[at] as number;
    if (lead < 0x80) {
      at += 1;
      continue;
    }
    const length = sequenceLength(lead);
    if (length === 0 || !isSequence(bytes, at, lead, length)) return at;
    at += length;
  }
  return -1;
}

/** Bytes of the sequence that this byte begins; 0 when none may begin with it. */
function sequenceLength(lead: number): number {
  if (lead < 0xc2 || lead > 0xf4) return 0;
  if (lead < 0xe0) return 2;
  return lead < 0xf0 ? 3 : 4;
}

function isSequence(bytes: Uint8Array, at: number, lead: number, length: number): boolean {
  const second = bytes[at + 1] ?? 0;
  // The second byte is where overlong forms (E0, F0), surrogates (ED) and code points past U+10FFFF (F4) show.
  const low = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80;
  const high = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf;
  if (second < low || second > high) return false;
  for (let next = at + 2; next < at + length; next += 1) {
    if (((bytes[next] ?? 0) & 0xc0) !== 0x80) return false;
  }
  return true;
}
