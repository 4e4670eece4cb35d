import { afterAll, expect, test } from 'bun:test';
import { createChildren } from './children.ts';
import { engineSeconds, readThreads } from './engine-share.ts';

/** CPU time is waited for, which neighbours may take. */
const TIMEOUT_MS = 60_000;
const children = createChildren();
afterAll(() => children.stopAll(5_000));

/** Runs the code in a process of its own and says how much of its CPU time was the engine's, once it has used some. */
async function share(code: string): Promise<number> {
  const child = children.spawn({ argv: [process.execPath, '-e', code] });
  const before = readThreads(child.pid);
  for (;;) {
    const after = readThreads(child.pid);
    if (before === undefined || after === undefined) throw new Error(`it ended: ${child.lastWords()}`);
    const all = after.allSeconds - before.allSeconds;
    if (all > 0.6) {
      await child.stop(1_000);
      return engineSeconds(before, after) / all;
    }
    await Bun.sleep(5);
  }
}

const JAVASCRIPT =
  'for (let rows = []; ; rows = rows.length > 1e4 ? [] : rows) rows.push(JSON.parse(\'{"a":[1,2,3]}\'));';

test(
  'JavaScript, with what collects its garbage and compiles it, is not the engine',
  async () => {
    expect(await share(JAVASCRIPT)).toBeLessThan(0.25);
  },
  TIMEOUT_MS,
);

test(
  'what runs on other threads is',
  async () => {
    // The key is derived on the thread pool, as a query of the engine runs there.
    const code = `const { pbkdf2 } = require('node:crypto');
    const again = () => pbkdf2('a', 'b', 200_000, 64, 'sha512', again);
    again();`;
    expect(await share(code)).toBeGreaterThan(0.5);
  },
  TIMEOUT_MS,
);

test('a process that is gone has no threads', async () => {
  const child = children.spawn({ argv: [process.execPath, '-e', ''] });
  await child.exited;
  expect(readThreads(child.pid)).toBeUndefined();
});
