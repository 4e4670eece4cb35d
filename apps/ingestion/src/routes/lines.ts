/** Cuts a stream of bytes into lines, in memory bounded by one line, wherever the chunks happen to end. */

const NEWLINE = 0x0a;
const CARRIAGE_RETURN = 0x0d;
const SPACE = 0x20;
const TAB = 0x09;
const CARRY_BYTES_MIN = 1024;

interface LineSink {
  /**
   * One line that is not blank, without its `\n` or `\r\n`. The bytes are only valid during the call. `number` counts
   * every line of the stream, blank ones too, from 1.
   */
  line(bytes: Uint8Array, number: number): void;
  /** A line longer than the limit; its bytes were dropped as they came. */
  tooLong(number: number): void;
}

export interface LineSplitter {
  push(chunk: Uint8Array): void;
  /** The stream ended: what stands after the last newline is a line as well. */
  end(): void;
}

export function createLineSplitter(lineBytesMax: number, sink: LineSink): LineSplitter {
  let carry = new Uint8Array(0);
  let carried = 0;
  let skipping = false;
  let number = 1;

  function push(chunk: Uint8Array): void {
    let from = 0;
    for (;;) {
      const newline = chunk.indexOf(NEWLINE, from);
      if (newline < 0) break;
      finish(chunk.subarray(from, newline));
      from = newline + 1;
    }
    if (from < chunk.length) keep(chunk.subarray(from));
  }

  function end(): void {
    if (carried > 0 || skipping) finish(new Uint8Array(0));
  }

  function finish(tail: Uint8Array): void {
    if (skipping || carried + tail.length > lineBytesMax) sink.tooLong(number);
    else if (carried === 0) emit(tail);
    else {
      append(tail);
      emit(carry.subarray(0, carried));
    }
    carried = 0;
    skipping = false;
    number += 1;
  }

  function emit(bytes: Uint8Array): void {
    const line = bytes[bytes.length - 1] === CARRIAGE_RETURN ? bytes.subarray(0, -1) : bytes;
    if (!isBlank(line)) sink.line(line, number);
  }

  function keep(part: Uint8Array): void {
    if (skipping) return;
    if (carried + part.length <= lineBytesMax) {
      append(part);
      return;
    }
    skipping = true;
    carried = 0;
    carry = new Uint8Array(0);
  }

  /** Doubles the room, so that a line that arrives byte by byte is copied a bounded number of times. */
  function append(part: Uint8Array): void {
    const needed = carried + part.length;
    if (needed > carry.length) {
      const larger = new Uint8Array(Math.min(lineBytesMax, Math.max(CARRY_BYTES_MIN, needed, carry.length * 2)));
      larger.set(carry.subarray(0, carried));
      carry = larger;
    }
    carry.set(part, carried);
    carried = needed;
  }

  return { push, end };
}

function isBlank(line: Uint8Array): boolean {
  for (const byte of line) {
    if (byte !== SPACE && byte !== TAB && byte !== CARRIAGE_RETURN) return false;
  }
  return true;
}
