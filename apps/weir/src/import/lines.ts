/** Lines of a byte stream, with their numbers, in bounded memory. */
import { CommandError, EXIT_CODE } from '../exit-code.ts';

export type Line =
  /** `text` has no line feed at its end; a carriage return before it is still there. */
  | { readonly number: number; readonly text: string }
  | { readonly number: number; readonly code: 'line_too_long' | 'invalid_utf8'; readonly message: string };

export interface LineOptions {
  /** A longer line is reported instead of read; at most this much of a line is ever held. */
  readonly lineBytesMax: number;
}

const LINE_FEED = 0x0a;

/** Yields the complete lines of each chunk, and what follows the last line feed at the end. */
export async function* readLines(chunks: AsyncIterable<Uint8Array>, options: LineOptions): AsyncGenerator<Line[]> {
  const splitter = createLineSplitter(options);
  for await (const chunk of dropByteOrderMark(chunks)) {
    const lines = splitter.push(chunk);
    if (lines.length > 0) yield lines;
  }
  const last = splitter.end();
  if (last !== undefined) yield [last];
}

function createLineSplitter({ lineBytesMax }: LineOptions) {
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  let number = 0;
  let pieces: Uint8Array[] = [];
  let heldBytes = 0;
  let tooLong = false;

  function hold(piece: Uint8Array): void {
    if (tooLong || piece.length === 0) return;
    if (heldBytes + piece.length > lineBytesMax) {
      tooLong = true;
      pieces = [];
      heldBytes = 0;
      return;
    }
    pieces.push(piece);
    heldBytes += piece.length;
  }

  function take(): Line {
    number++;
    const bytes = pieces.length === 1 ? (pieces[0] as Uint8Array) : Buffer.concat(pieces);
    const wasTooLong = tooLong;
    pieces = [];
    heldBytes = 0;
    tooLong = false;
    if (wasTooLong) {
      return { number, code: 'line_too_long', message: `the line is longer than ${lineBytesMax} bytes` };
    }
    try {
      return { number, text: decoder.decode(bytes) };
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
      return { number, code: 'invalid_utf8', message: 'the line is not valid UTF-8: convert the file first' };
    }
  }

  function push(chunk: Uint8Array): Line[] {
    const lines: Line[] = [];
    let start = 0;
    for (;;) {
      const end = chunk.indexOf(LINE_FEED, start);
      if (end < 0) break;
      hold(chunk.subarray(start, end));
      lines.push(take());
      start = end + 1;
    }
    // A copy, since the stream may use its buffer again.
    if (start < chunk.length) hold(chunk.slice(start));
    return lines;
  }

  function end(): Line | undefined {
    return heldBytes > 0 || tooLong ? take() : undefined;
  }

  return { push, end };
}

/** Passes the bytes on without a UTF-8 byte order mark. Throws `CommandError` when the mark says UTF-16. */
export async function* dropByteOrderMark(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let head: Uint8Array | undefined = new Uint8Array(0);
  for await (const chunk of chunks) {
    if (head === undefined) {
      yield chunk;
      continue;
    }
    head = Buffer.concat([head, chunk]);
    if (head.length < 3) continue;
    yield withoutMark(head);
    head = undefined;
  }
  if (head !== undefined && head.length > 0) yield withoutMark(head);
}

function withoutMark(head: Uint8Array): Uint8Array {
  const [first, second, third] = head;
  if ((first === 0xff && second === 0xfe) || (first === 0xfe && second === 0xff)) {
    throw new CommandError(
      EXIT_CODE.usage,
      'unsupported_encoding',
      'The input is UTF-16. Convert it to UTF-8 first, for example with: iconv -f UTF-16 -t UTF-8',
    );
  }
  return first === 0xef && second === 0xbb && third === 0xbf ? head.subarray(3) : head;
}
