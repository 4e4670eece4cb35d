/** The process dies by SIGKILL anywhere: while it opens the engine, makes the tables, or inserts. */
import { expect, test } from 'bun:test';
import { join } from 'node:path';
import { openStore } from '../src/store.ts';
import { QUIET, temporaryFolder } from '../src/testing.ts';

const ROUNDS = 8;
const BLOCKS = 60;
const ROWS = 2_000;

test('every row is stored once, whenever the process is killed', async () => {
  const seed = Number(Bun.env['WEIR_TEST_SEED'] ?? Date.now() % 1_000_000);
  process.stdout.write(`crash test: WEIR_TEST_SEED=${seed}\n`);
  const random = mulberry32(seed);
  const folder = temporaryFolder();
  const engineFolder = join(folder.path, 'engine');
  const command = [
    process.execPath,
    join(import.meta.dir, 'insert-child.ts'),
    engineFolder,
    join(folder.path, 'cursor'),
    String(BLOCKS),
    String(ROWS),
  ];

  /** Resolves to whether it came to its end. `killAfter` counts its lines; the kill follows at once or a little later. */
  async function run(killAfter: number, delayMs: number): Promise<boolean> {
    const child = Bun.spawn(command, { stdout: 'pipe', stderr: 'inherit' });
    let lines = 0;
    let output = '';
    if (killAfter === 0) setTimeout(() => child.kill('SIGKILL'), 300 * random());
    for await (const chunk of child.stdout) {
      const text = Buffer.from(chunk).toString();
      output += text;
      const before = lines;
      lines += text.split('\n').length - 1;
      if (before < killAfter && lines >= killAfter) kill(child, delayMs);
    }
    const code = await child.exited;
    return output.endsWith('done\n') && code === 0;
  }

  // The first two rounds die while the engine is opened and the tables are made.
  for (let round = 0; round < ROUNDS; round++) {
    const killAfter = round < 2 ? 0 : 2 + Math.floor(random() * 8);
    expect(await run(killAfter, round % 2 ? 0 : 40 * random())).toBeFalse();
  }
  expect(await run(Number.POSITIVE_INFINITY, 0)).toBeTrue();

  const store = await openStore({ kind: 'embedded', folder: engineFolder }, { logger: QUIET });
  const [counts] = await store.select('SELECT count(), uniqExact(seq), min(seq), max(seq) FROM weir.raw_events');
  expect(counts).toEqual([String(BLOCKS * ROWS), String(BLOCKS * ROWS), '1', String(BLOCKS * ROWS)]);
  await store.close();
  folder.remove();
}, 120_000);

function kill(child: { kill(signal: 'SIGKILL'): void }, delayMs: number): void {
  if (delayMs === 0) child.kill('SIGKILL');
  else setTimeout(() => child.kill('SIGKILL'), delayMs);
}

/** A small generator of random numbers from 0 to 1 whose run can be repeated. */
function mulberry32(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
