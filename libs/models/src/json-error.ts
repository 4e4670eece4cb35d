/**
 * Where a text stops being JSON (RFC 8259). JSON.parse does the reading; this finds the place for the message once it
 * has refused. It works on bytes, so that offsets are bytes, and keeps its own stack, so that no nesting overflows it.
 */

export interface JsonError {
  /** Byte offset of the first byte that no JSON text could have there; the length when the text ends too early. */
  readonly offset: number;
  /** What was found and what was expected. */
  readonly message: string;
}

/** What may come next. */
const EXPECTED = {
  value: 'a value',
  firstItem: 'a value or "]"',
  firstKey: 'a key in double quotes or "}"',
  key: 'a key in double quotes',
  colon: '":"',
  afterItem: '"," or "]"',
  afterMember: '"," or "}"',
  end: 'nothing more',
} as const;
type State = keyof typeof EXPECTED;

const QUOTE = 0x22;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
const OPEN_ARRAY = 0x5b;
const CLOSE_ARRAY = 0x5d;
const COMMA = 0x2c;

/** Either the offset behind a token, or what is wrong inside it. */
type Scan = number | JsonError;

/** Undefined: the bytes are JSON. They are taken as UTF-8 that was checked before. */
export function findJsonError(bytes: Uint8Array): JsonError | undefined {
  const open = createOpenStack();
  let state: State = 'value';
  let at = 0;
  for (;;) {
    while (isBlank(bytes[at])) at += 1;
    const byte = bytes[at];
    if (byte === undefined) return state === 'end' ? undefined : unexpected(bytes, at, EXPECTED[state]);

    if (state === 'colon') {
      if (byte !== 0x3a) return unexpected(bytes, at, EXPECTED.colon);
      state = 'value';
      at += 1;
    } else if (closes(state, byte)) {
      open.pop();
      state = open.stateAfterValue();
      at += 1;
    } else if (byte === COMMA && (state === 'afterItem' || state === 'afterMember')) {
      state = state === 'afterItem' ? 'value' : 'key';
      at += 1;
    } else if (byte === QUOTE && (state === 'key' || state === 'firstKey')) {
      const end = scanString(bytes, at);
      if (typeof end === 'object') return end;
      state = 'colon';
      at = end;
    } else if (state !== 'value' && state !== 'firstItem') {
      return unexpected(bytes, at, EXPECTED[state]);
    } else if (byte === OPEN_OBJECT || byte === OPEN_ARRAY) {
      open.push(byte);
      state = byte === OPEN_OBJECT ? 'firstKey' : 'firstItem';
      at += 1;
    } else {
      const end = scanScalar(bytes, at, EXPECTED[state]);
      if (typeof end === 'object') return end;
      state = open.stateAfterValue();
      at = end;
    }
  }
}

function closes(state: State, byte: number): boolean {
  if (byte === CLOSE_ARRAY) return state === 'firstItem' || state === 'afterItem';
  return byte === CLOSE_OBJECT && (state === 'firstKey' || state === 'afterMember');
}

/** The brackets that are open, one byte each. */
function createOpenStack() {
  let stack = new Uint8Array(256);
  let depth = 0;

  function push(bracket: number): void {
    if (depth === stack.length) {
      const larger = new Uint8Array(stack.length * 2);
      larger.set(stack);
      stack = larger;
    }
    stack[depth] = bracket;
    depth += 1;
  }

  function pop(): void {
    depth -= 1;
  }

  function stateAfterValue(): State {
    if (depth === 0) return 'end';
    return stack[depth - 1] === OPEN_OBJECT ? 'afterMember' : 'afterItem';
  }

  return { push, pop, stateAfterValue };
}

function scanScalar(bytes: Uint8Array, at: number, expected: string): Scan {
  const byte = bytes[at] as number;
  if (byte === QUOTE) return scanString(bytes, at);
  if (byte === 0x2d /* - */ || isDigit(byte)) return scanNumber(bytes, at);
  const literal = byte === 0x74 ? 'true' : byte === 0x66 ? 'false' : byte === 0x6e ? 'null' : undefined;
  if (literal === undefined) return unexpected(bytes, at, expected);
  for (let index = 1; index < literal.length; index += 1) {
    if (bytes[at + index] !== literal.charCodeAt(index)) return unexpected(bytes, at + index, `the rest of ${literal}`);
  }
  return at + literal.length;
}

function scanString(bytes: Uint8Array, start: number): Scan {
  let at = start + 1;
  for (;;) {
    const byte = bytes[at];
    if (byte === QUOTE) return at + 1;
    if (byte === undefined || byte < 0x20)
      return unexpected(bytes, at, 'the rest of a string, control characters escaped');
    if (byte !== 0x5c /* \ */) {
      at += 1;
      continue;
    }
    const end = scanEscape(bytes, at + 1);
    if (typeof end === 'object') return end;
    at = end;
  }
}

const ESCAPES = new Set(Array.from('"\\/bfnrt', (character) => character.charCodeAt(0)));

function scanEscape(bytes: Uint8Array, at: number): Scan {
  const byte = bytes[at];
  if (byte !== undefined && ESCAPES.has(byte)) return at + 1;
  if (byte !== 0x75 /* u */) return unexpected(bytes, at, 'one of " \\ / b f n r t u after a backslash');
  for (let digit = at + 1; digit < at + 5; digit += 1) {
    if (!isHexDigit(bytes[digit])) return unexpected(bytes, digit, 'four hexadecimal digits after \\u');
  }
  return at + 5;
}

function scanNumber(bytes: Uint8Array, start: number): Scan {
  let at = bytes[start] === 0x2d /* - */ ? start + 1 : start;
  // A leading zero stands alone: what follows it is judged as what follows a value.
  if (bytes[at] === 0x30) at += 1;
  else {
    const end = scanDigits(bytes, at);
    if (typeof end === 'object') return end;
    at = end;
  }
  if (bytes[at] === 0x2e /* . */) {
    const end = scanDigits(bytes, at + 1);
    if (typeof end === 'object') return end;
    at = end;
  }
  if (((bytes[at] ?? 0) | 0x20) !== 0x65 /* e, E */) return at;
  at += 1;
  if (bytes[at] === 0x2b /* + */ || bytes[at] === 0x2d /* - */) at += 1;
  return scanDigits(bytes, at);
}

function scanDigits(bytes: Uint8Array, start: number): Scan {
  let at = start;
  while (isDigit(bytes[at])) at += 1;
  return at === start ? unexpected(bytes, at, 'a digit') : at;
}

function isBlank(byte: number | undefined): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
}

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= 0x30 && byte <= 0x39;
}

function isHexDigit(byte: number | undefined): boolean {
  if (byte === undefined) return false;
  const lower = byte | 0x20;
  return isDigit(byte) || (lower >= 0x61 && lower <= 0x66);
}

function unexpected(bytes: Uint8Array, offset: number, expected: string): JsonError {
  return { offset, message: `Found ${describeByte(bytes[offset])}, expected ${expected}.` };
}

function describeByte(byte: number | undefined): string {
  if (byte === undefined) return 'the end of the text';
  if (byte === QUOTE) return 'a double quote';
  if (byte > 0x20 && byte < 0x7f) return `"${String.fromCharCode(byte)}"`;
  return `byte 0x${byte.toString(16).padStart(2, '0')}`;
}
