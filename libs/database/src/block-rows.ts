/** A block taken apart into its rows, for the rare moment when only some of them are to be sent. */
import type { Block } from '@libs/pipeline';

export interface BlockRow {
  readonly seq: number;
  /** Milliseconds since 1970; NaN when the row does not say it in a way that we can read. */
  readonly receivedAtMs: number;
  /** The row with its line feed: a view into the block's bytes. */
  readonly bytes: Uint8Array;
}

const LINE_FEED = 10;

/** The block's rows in order. Throws when a row is no JSON object with a `seq`: then the block was never cut by us. */
export function blockRows(block: Block): BlockRow[] {
  const rows: BlockRow[] = [];
  const decoder = new TextDecoder();
  for (const chunk of block.chunks) {
    let start = 0;
    while (start < chunk.length) {
      const found = chunk.indexOf(LINE_FEED, start);
      const end = found === -1 ? chunk.length : found + 1;
      const bytes = chunk.subarray(start, end);
      start = end;
      const row = JSON.parse(decoder.decode(bytes)) as { seq?: unknown; receivedAt?: unknown };
      if (!Number.isSafeInteger(row.seq)) throw new TypeError(`a row of block ${block.token} has no seq`);
      rows.push({ seq: row.seq as number, receivedAtMs: Date.parse(String(row.receivedAt)), bytes });
    }
  }
  return rows;
}
