/** Bytes or text to a JSON value: strict UTF-8, no byte order mark, RFC 8259, and the place of the first error. */
import { findJsonError, type JsonError } from './json-error.ts';
import { findUtf8Error } from './utf8-error.ts';

export type ParsedJson =
  | { readonly ok: true; readonly value: unknown }
  | {
      readonly ok: false;
      /** In bytes from the start; the length when the text ends too early. */
      readonly offset: number;
      /** One sentence: what was found and what was expected. */
      readonly message: string;
    };

// `ignoreBOM` keeps a byte order mark, so that it is refused like any other byte that does not belong.
const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * Parses one JSON text of any nesting; never throws. Good input costs TextDecoder and JSON.parse and no more; isUtf8,
 * isAscii and Buffer's latin1 were measured and are no faster. Of equal keys the last one wins.
 */
export function parseJson(bytes: Uint8Array): ParsedJson {
  try {
    return { ok: true, value: JSON.parse(strictUtf8.decode(bytes)) };
  } catch (error) {
    return refuse(bytes, error);
  }
}

/** The same for text that is already decoded, such as a WebSocket text frame; offsets count its bytes in UTF-8. */
export function parseJsonText(text: string): ParsedJson {
  try {
    return { ok: true, value: JSON.parse(text) };
  } catch (error) {
    return refuse(new TextEncoder().encode(text), error);
  }
}

function refuse(bytes: Uint8Array, error: unknown): ParsedJson {
  const found = locate(bytes);
  if (found !== undefined) return { ok: false, ...found };
  // Only a lack of memory gets here: the bytes are JSON, and the runtime could not hold them.
  throw error;
}

function locate(bytes: Uint8Array): JsonError | undefined {
  if (bytes.length === 0) return { offset: 0, message: 'Found no text at all, expected a JSON value.' };
  if (bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) {
    return { offset: 0, message: 'Found a byte order mark, expected JSON without one.' };
  }
  const badByte = findUtf8Error(bytes);
  if (badByte === -1) return findJsonError(bytes);
  const before = findJsonError(bytes.subarray(0, badByte));
  if (before !== undefined && before.offset < badByte) return before;
  const hex = (bytes[badByte] ?? 0).toString(16);
  return { offset: badByte, message: `Found byte 0x${hex}, which does not continue the text as UTF-8.` };
}
