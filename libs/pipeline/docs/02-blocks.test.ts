/**
 * 2. From the journal to a sink: blocks.
 *
 * Behind the journal everything goes in blocks. A `Block` is a range of rows that is cut once: where it begins and
 * ends, its bytes and its token never change again, however often it has to be sent. That is what lets a sink know a
 * block that it has met before.
 *
 * Large blocks are cheap, and nobody waits for them by default: so a batcher says when to cut. It holds no rows; they
 * are in the journal.
 */
import { expect, test } from 'bun:test';
import { type Block, createBatcher, type Sink } from '../src/index.ts';

const encoder = new TextEncoder();

function cut(rows: readonly string[], firstSeq: number): Block {
  const bytes = encoder.encode(rows.map((row) => `${row}\n`).join(''));
  const lastSeq = firstSeq + rows.length - 1;
  return {
    journal: 'shelf',
    firstSeq,
    lastSeq,
    chunks: [bytes],
    byteLength: bytes.byteLength,
    token: `shelf:${firstSeq}-${lastSeq}:${Bun.hash.xxHash3(bytes).toString(16)}`,
  };
}

test('a batch is due when it is full, when somebody asks, or when its first row has waited long enough', () => {
  let nowMs = 0;
  const batcher = createBatcher({ rowsMax: 10_000, bytesMax: 16_000_000, intervalMs: 200 }, () => nowMs);
  expect(batcher.dueInMs()).toBeUndefined();
  batcher.waiting(50, 16_500);
  nowMs = 120;
  expect(batcher.dueInMs()).toBe(80);
  batcher.waiting(10_000, 3_300_000);
  expect(batcher.dueInMs()).toBe(0);
  batcher.taken();
  batcher.waiting(1, 330);
  expect(batcher.dueInMs()).toBe(200);
  batcher.flush();
  expect(batcher.dueInMs()).toBe(0);
});

test('the same rows make the same token, so that a sink can keep what it has from coming in twice', async () => {
  const table: string[] = [];
  const tokens = new Set<string>();
  const sink: Sink = {
    name: 'table',
    async connect() {
      table.length = 0;
    },
    async write(block) {
      if (tokens.has(block.token)) return [];
      tokens.add(block.token);
      for (const chunk of block.chunks) table.push(...new TextDecoder().decode(chunk).trimEnd().split('\n'));
      return [];
    },
    async close() {
      tokens.clear();
    },
    health: () => ({ state: 'healthy' }),
  };
  const context = { signal: new AbortController().signal, ambiguous: false };
  await sink.connect(context.signal);
  await sink.write(cut(['{"a":1}', '{"a":2}'], 1), context);
  await sink.write(cut(['{"a":1}', '{"a":2}'], 1), { ...context, ambiguous: true });
  await sink.write(cut(['{"a":1}', '{"a":2}'], 3), context);
  expect(table).toEqual(['{"a":1}', '{"a":2}', '{"a":1}', '{"a":2}']);
});
