import { expect, test } from 'bun:test';
import { join } from 'node:path';
import { openState } from '../src/state.ts';
import { withFolder } from './harness.ts';
import { cannotTrace, countSyncs } from './trace-syncs.ts';

const BLOCKS = 10;
const child = join(import.meta.dir, 'state-sync.child.ts');

test('every cut and every commit reaches the disk: the kernel sees one sync of the WAL for each', () =>
  withFolder(async (folder) => {
    const file = join(folder, 'state.sqlite');
    const running = Bun.spawn([process.execPath, child, file, String(BLOCKS)], { stdin: 'pipe', stdout: 'pipe' });
    await running.stdout.getReader().read();
    const begin = (): void => {
      running.stdin.write('go\n');
      running.stdin.flush();
    };
    const syncs = cannotTrace() ?? countSyncs(running.pid, begin);
    if (typeof syncs === 'string') {
      // What is left then is that the settings are in force: src/state.test.ts.
      process.stdout.write(`Sync calls were not counted: ${syncs}.\n`);
      begin();
    } else {
      expect(syncs.get(`${file}-wal`)).toBe(2 * BLOCKS);
    }
    await running.exited;
    const state = openState(file);
    expect(state.cursors()).toEqual([{ journal: 'j', sink: 'store', seq: BLOCKS }]);
    state.close();
  }));
