/** Texts as bytes. Keys and ids are short: the runtime's own functions take longer to be called than a loop takes. */

export function isAscii(text: string): boolean {
  for (let at = 0; at < text.length; at++) if (text.charCodeAt(at) > 0x7f) return false;
  return true;
}

/** Bytes of a text in UTF-8. */
export function utf8Bytes(text: string): number {
  return isAscii(text) ? text.length : Buffer.byteLength(text);
}

/** Writes a text of so many bytes in UTF-8, and returns where it ends. */
export function writeUtf8(into: Buffer, at: number, text: string, bytes: number): number {
  if (bytes > text.length) into.write(text, at);
  else for (let index = 0; index < bytes; index++) into[at + index] = text.charCodeAt(index);
  return at + bytes;
}
