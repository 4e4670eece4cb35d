/**
 * The elements of a JSON array (or of the array under "events" in an object) cut out of a byte stream, each as the
 * bytes that stood there. Nothing is parsed here: numbers and duplicate keys reach the service as they were written.
 */
import { CommandError, EXIT_CODE } from '../exit-code.ts';

export type Element =
  | { readonly number: number; readonly bytes: Uint8Array }
  | { readonly number: number; readonly code: 'element_too_long'; readonly message: string };

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;

const isSpace = (byte: number) => byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;

/** Where the reader stands: before the first bracket, in an object around the array, in the array, behind it. */
type Place = 'start' | 'object' | 'array' | 'behind';

/** Characters of a key of the outer object that are kept to compare it with "events". */
const KEY_BYTES_MAX = 32;

export interface ElementSplitter {
  /** The elements that are complete with this chunk. Throws `CommandError` (usage) when it is no such document. */
  push(chunk: Uint8Array): Element[];
  /** Throws `CommandError` (usage) when the document is cut off. */
  end(): void;
}

export function createElementSplitter(options: { readonly elementBytesMax: number }): ElementSplitter {
  const cutter = createCutter(options.elementBytesMax);
  let place: Place = 'start';
  let inObject = false;
  let depth = 0;
  let inString = false;
  let escaped = false;
  let key: number[] = [];
  let offset = 0;

  /** One byte of a string; true when the string goes on. */
  function stringByte(byte: number): void {
    if (escaped) escaped = false;
    else if (byte === BACKSLASH) escaped = true;
    else if (byte === QUOTE) inString = false;
    if (inString && place === 'object' && depth === 1 && key.length < KEY_BYTES_MAX) key.push(byte);
  }

  function startByte(byte: number): void {
    if (isSpace(byte)) return;
    if (byte === OPEN_BRACKET) {
      place = 'array';
      return;
    }
    if (byte !== OPEN_BRACE) throw malformed(offset, 'it begins with neither [ nor {');
    place = 'object';
    inObject = true;
    depth = 1;
  }

  function objectByte(byte: number): void {
    if (byte === QUOTE) {
      inString = true;
      if (depth === 1) key = [];
    } else if (byte === OPEN_BRACKET && depth === 1 && Buffer.from(key).toString('latin1') === 'events') {
      place = 'array';
      depth = 0;
    } else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) {
      depth++;
    } else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) {
      depth--;
      if (depth === 0) {
        throw malformed(
          offset,
          'it is an object without an array under "events" (one event a line is --format ndjson)',
        );
      }
    }
  }

  /** Behind a function, because `arrayByte` changes the place between two looks at it. */
  const isBehind = () => place === 'behind';

  /** A byte of the array outside of strings; true when an element ends before it. */
  function arrayByte(byte: number): boolean {
    if (depth > 0) {
      if (byte === QUOTE) inString = true;
      else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) depth++;
      else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) depth--;
      return false;
    }
    if (byte === COMMA) return true;
    if (byte === CLOSE_BRACKET) {
      place = 'behind';
      return true;
    }
    if (byte === CLOSE_BRACE) throw malformed(offset, 'a } closes nothing');
    if (byte === QUOTE) inString = true;
    else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) depth = 1;
    return false;
  }

  function push(chunk: Uint8Array): Element[] {
    const elements: Element[] = [];
    let from = 0;
    for (let at = 0; at < chunk.length; at++, offset++) {
      const byte = chunk[at] as number;
      if (inString) stringByte(byte);
      else if (place === 'array') {
        if (!arrayByte(byte)) continue;
        cutter.hold(chunk.subarray(from, at));
        const element = cutter.take(isBehind(), offset);
        if (element !== undefined) elements.push(element);
        from = at + 1;
      } else if (place === 'start') {
        startByte(byte);
        from = at + 1;
      } else if (place === 'object') {
        objectByte(byte);
        from = at + 1;
      } else if (!inObject && !isSpace(byte)) throw malformed(offset, 'there is text behind the end of the array');
    }
    if (place === 'array') cutter.hold(chunk.slice(from));
    return elements;
  }

  function end(): void {
    if (place === 'start') throw malformed(offset, 'it is empty');
    if (place !== 'behind') throw malformed(offset, 'it is cut off: the array is not closed');
  }

  return { push, end };
}

function createCutter(elementBytesMax: number) {
  let pieces: Uint8Array[] = [];
  let heldBytes = 0;
  let tooLong = false;
  let number = 0;

  function hold(piece: Uint8Array): void {
    if (tooLong || piece.length === 0) return;
    if (heldBytes + piece.length > elementBytesMax) {
      tooLong = true;
      pieces = [];
      return;
    }
    pieces.push(piece);
    heldBytes += piece.length;
  }

  /** What was held, as an element; nothing when the array that ends here is empty. */
  function take(last: boolean, offset: number): Element | undefined {
    const bytes = Buffer.concat(pieces);
    const wasTooLong = tooLong;
    pieces = [];
    heldBytes = 0;
    tooLong = false;
    if (!wasTooLong && bytes.every(isSpace)) {
      if (last && number === 0) return undefined;
      throw malformed(offset, 'an element is missing between two commas or before the end of the array');
    }
    number++;
    if (!wasTooLong) return { number, bytes };
    return { number, code: 'element_too_long', message: `the element is longer than ${elementBytesMax} bytes` };
  }

  return { hold, take };
}

function malformed(offset: number, what: string): CommandError {
  return new CommandError(
    EXIT_CODE.usage,
    'malformed_json',
    `The input is not a JSON array of objects, nor {"events": […]}: ${what} (byte ${offset}).`,
  );
}
