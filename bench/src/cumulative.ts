/** Cumulative acks: a number in each frame, and one answer that stands for all frames up to a number. */

/** Ten digits from the first one on, so that the next number fits where the last one stood. */
export const SEQ_FIRST = 1_000_000_000;
const SEQ_DIGITS = 10;
const ZERO = 48;

export const SUBSCRIBE = '{"type":"subscribe","payload":{"acks":"cumulative"}}';
const THROUGH = /^\{"type":"event_ack"[^}]*"throughSeq":(\d+)\}$/;

/** `mask` as in `IdStamp.write`. */
export function writeSeq(bytes: Uint8Array, offset: number, seq: number, mask: Uint8Array, maskFrom: number): void {
  let value = seq;
  for (let at = offset + SEQ_DIGITS - 1; at >= offset; at--) {
    bytes[at] = (ZERO + (value % 10)) ^ (mask[(at - maskFrom) & 3] as number);
    value = Math.floor(value / 10);
  }
}

/**
 * How many events an answer acknowledges that no earlier one did. Undefined when it is no cumulative ack, says nothing new, or
 * speaks of events that were not sent. `sent`: events so far.
 */
export function createThroughCount(sent: () => number): (text: string) => number | undefined {
  let acknowledged = 0;
  return (text) => {
    const through = Number(THROUGH.exec(text)?.[1] ?? Number.NaN) - SEQ_FIRST + 1;
    if (!(through > acknowledged && through <= sent())) return undefined;
    const events = through - acknowledged;
    acknowledged = through;
    return events;
  };
}
