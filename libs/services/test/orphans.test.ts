import { describe, expect, test } from 'bun:test';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { lacks, startRedis } from '../src/index.ts';
import { until } from '../src/until.ts';
import { processState } from './process-state.ts';

const TEST_MS = 120_000;

describe.skipIf(lacks({ start: ['redis', 'kafka'] }))('a test process that is killed', () => {
  test(
    'leaves no server behind, not even a frozen one, and its folders go with the next start',
    async () => {
      const parent = Bun.spawn([process.execPath, join(import.meta.dir, 'fixtures', 'starter.ts')], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      let line = '';
      for await (const chunk of parent.stdout) {
        line += new TextDecoder().decode(chunk);
        if (line.endsWith('\n')) break;
      }
      const { pids, folders } = JSON.parse(line) as { pids: number[]; folders: string[] };
      expect(pids.map(processState)).toEqual([expect.any(String), 'T', expect.any(String)]);
      expect(folders.map(existsSync)).toEqual([true, true, true]);
      parent.kill('SIGKILL');
      await parent.exited;
      expect(await until(() => pids.every((pid) => processState(pid) === undefined), 20_000)).toBe(true);
      await using _other = await startRedis();
      expect(folders.map(existsSync)).toEqual([false, false, false]);
    },
    TEST_MS,
  );
});
