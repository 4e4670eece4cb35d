/** Rows that were parked because a sink was too far behind, read back from the store. */
import type { StoreAudit } from '@libs/database';
import type { ReadRows } from '@libs/delivery';

export function createReadRows(audit: Pick<StoreAudit, 'readRows'>): ReadRows {
  const encoder = new TextEncoder();
  return async (journal, firstSeq, lastSeq, signal) => {
    const rows = await audit.readRows({ journal, firstSeq, lastSeq }, signal);
    return rows.map(({ seq, json }) => ({ seq, bytes: encoder.encode(json) }));
  };
}
