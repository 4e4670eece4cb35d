import { expect, test } from 'bun:test';
import { ACCEPT_MEMORY } from './accept-memory.ts';

const CHUNK_WORDS = 65_536;
const WINDOW_CHUNKS = 2_000;
/** Of what the ids take. It is a half with the settings; by default nearly twice as much as they on a machine of 8 GB, three times on one of 24. */
const GARBAGE_SHARE_MAX = 0.75;

const CHURN = `
  const ids = Array.from({ length: ${WINDOW_CHUNKS} }, () => new Uint32Array(${CHUNK_WORDS}).fill(1));
  Bun.gc(true);
  const liveMb = process.memoryUsage().rss / 1e6;
  let mostMb = 0;
  for (let turn = 0; turn < 1_000; turn++) {
    JSON.parse(JSON.stringify(Array.from({ length: 2_000 }, (_, at) => ({ id: 'event-' + turn + '-' + at, text: 'x'.repeat(200) }))));
    mostMb = Math.max(mostMb, process.memoryUsage().rss / 1e6);
  }
  process.stdout.write(JSON.stringify({ garbageMb: mostMb - liveMb, ids: ids.length }));
`;

test('the ids of a large dedupe window do not multiply into garbage', () => {
  const { stdout, stderr, exitCode } = Bun.spawnSync([process.execPath, '-e', CHURN], { env: { ...ACCEPT_MEMORY } });
  // The runtime refuses settings that it does not know.
  expect({ stderr: stderr.toString(), exitCode }).toEqual({ stderr: '', exitCode: 0 });
  const { garbageMb } = JSON.parse(stdout.toString()) as { readonly garbageMb: number };
  expect(garbageMb).toBeGreaterThan(0);
  expect(garbageMb).toBeLessThan(GARBAGE_SHARE_MAX * ((WINDOW_CHUNKS * CHUNK_WORDS * 4) / 1e6));
});
