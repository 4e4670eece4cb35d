/**
 * Delivers blocks of rows into an embedded store until it is killed or done, with a cursor in a file: run by
 * crash.test.ts. Arguments: the store's folder, the cursor's file, blocks in all, rows per block.
 */
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { openStore } from '../src/store.ts';
import { createStoreSink } from '../src/store-sink.ts';
import { QUIET, testBlock, testRow } from '../src/testing.ts';

const [folder = '', cursorFile = '', blocks = '0', rowsPerBlock = '0'] = process.argv.slice(2);
const rows = Number(rowsPerBlock);
/** Widens the gap that the test aims at; nothing waits for it. */
const MOMENT_MS = 3;
const never = new AbortController().signal;

function writeCursor(done: number): void {
  writeFileSync(`${cursorFile}.new`, String(done));
  renameSync(`${cursorFile}.new`, cursorFile);
}

/** Half of a block's rows fall on the next day: an insert of two parts. */
function blockAt(index: number) {
  const firstSeq = index * rows + 1;
  const list = Array.from({ length: rows }, (_, offset) => {
    const day = offset < rows / 2 ? '15' : '16';
    return testRow(firstSeq + offset, { receivedAt: `2025-06-${day}T12:00:00.000Z` });
  });
  return testBlock(list, firstSeq);
}

const store = await openStore({ kind: 'embedded', folder }, { logger: QUIET });
const sink = createStoreSink(store, { logger: QUIET });
await sink.connect(never);
process.stdout.write('connected\n');
const first = existsSync(cursorFile) ? Number(readFileSync(cursorFile, 'utf8')) : 0;
for (let index = first; index < Number(blocks); index++) {
  const block = blockAt(index);
  process.stdout.write(`writing ${index}\n`);
  await sink.write(block, { signal: never, ambiguous: index === first });
  // Stored, and nobody knows yet: a kill that follows this line falls between the insert and the cursor.
  process.stdout.write(`stored ${index}\n`);
  await Bun.sleep(MOMENT_MS);
  writeCursor(index + 1);
}
await store.close();
process.stdout.write('done\n');
