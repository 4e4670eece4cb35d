/** For tests of this and other packages: rows and blocks as the journal gives them, and stores that clean up. */
import type { Block } from '@libs/pipeline';
import { openStore, type Store, type StoreLogger } from './store.ts';
import { temporaryFolder } from './testing-folder.ts';

export { temporaryFolder } from './testing-folder.ts';
export { type ClickHouseFront, startClickHouseFront } from './testing-front.ts';
export type { FrontFault, FrontRule } from './testing-front-faults.ts';
export {
  type ClickHouseProcess,
  type ClickHouseProcessOptions,
  startClickHouseProcess,
} from './testing-front-process.ts';

export const TEST_JOURNAL = '0190a1b2-0000-7000-8000-00000000c0de';
export const QUIET: StoreLogger = { debug: () => {}, warn: () => {} };

/** A server's configuration with a cluster of one host: the engine itself. */
export function clusterConfig(cluster: string): string {
  const replica = '<replica><host>127.0.0.1</host><port>9000</port></replica>';
  const shard = `<shard><internal_replication>true</internal_replication>${replica}</shard>`;
  return `<clickhouse>
  <tcp_port>9000</tcp_port>
  <remote_servers><${cluster}>${shard}</${cluster}></remote_servers>
  <macros><shard>01</shard><replica>r1</replica></macros>
</clickhouse>
`;
}

/** One row as it stands in a block; `over` replaces fields, `undefined` removes one. */
export function testRow(seq: number, over: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    eventId: `event-${seq}`,
    eventType: ['item_added', 'cart_updated', 'purchase_completed'][seq % 3],
    timestamp: new Date(1_750_000_000_000 + seq).toISOString(),
    ...(seq % 2 ? { userId: `user-${seq % 10}` } : {}),
    sessionId: `session-${seq % 50}`,
    storeId: `store-${seq % 3}`,
    data: { sku: `sku-${seq}`, price: seq / 4 },
    metadata: { userAgent: 'curl/8' },
    receivedAt: '2025-06-15T12:00:00.000Z',
    journal: TEST_JOURNAL,
    seq,
    ...over,
  };
}

/** A block of those rows, given as objects or as ready lines. */
export function testBlock(rows: readonly (Record<string, unknown> | string)[], firstSeq: number): Block {
  const lines = rows.map((row) => `${typeof row === 'string' ? row : JSON.stringify(row)}\n`);
  const bytes = new TextEncoder().encode(lines.join(''));
  const lastSeq = firstSeq + rows.length - 1;
  const token = `${TEST_JOURNAL}:${firstSeq}-${lastSeq}:${Bun.hash.xxHash3(bytes).toString(16).padStart(16, '0')}`;
  return { journal: TEST_JOURNAL, firstSeq, lastSeq, chunks: [bytes], byteLength: bytes.length, token };
}

/** Rows `firstSeq` to `lastSeq`. */
export function testRange(firstSeq: number, lastSeq: number, over: Record<string, unknown> = {}): Block {
  const rows = Array.from({ length: lastSeq - firstSeq + 1 }, (_, index) => testRow(firstSeq + index, over));
  return testBlock(rows, firstSeq);
}

/** An embedded store on a temporary folder. One at a time per process. */
export async function openTestStore(): Promise<{ readonly store: Store; close(): Promise<void> }> {
  const folder = temporaryFolder();
  const store = await openStore({ kind: 'embedded', folder: folder.path }, { logger: QUIET });
  return {
    store,
    close: async () => {
      await store.close();
      folder.remove();
    },
  };
}
