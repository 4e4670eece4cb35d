/**
 * 4. Starting and stopping.
 *
 * A process is a list of named steps. They start in order, so each finds what it stands on, and stop in reverse: first
 * no new input, then what is in flight, the journal, the sinks, and at last the files. Every stop has a deadline; what
 * is not done by then is reported, and the steps below it are stopped all the same. Nothing is lost by that: what was
 * acknowledged is in the journal, and the next start goes on from there.
 */
import { expect, test } from 'bun:test';
import { createLifecycle, type LifecycleStep } from '../src/index.ts';

test('what starts last is stopped first, and a step that hangs costs its own deadline only', async () => {
  const log: string[] = [];
  const step = (name: string): LifecycleStep => ({
    name,
    start() {
      log.push(`+${name}`);
    },
    stop() {
      log.push(`-${name}`);
    },
  });
  const stalled: LifecycleStep = { name: 'sinks', stopTimeoutMs: 10, stop: () => new Promise(() => undefined) };
  const process = createLifecycle([step('state'), stalled, step('journal'), step('server')]);
  await process.start();
  const report = await process.stop();
  expect(log).toEqual(['+state', '+journal', '+server', '-server', '-journal', '-state']);
  expect(report.failed).toEqual([{ name: 'sinks', reason: 'not done within 10 ms' }]);
});

test('a start that fails leaves nothing behind', async () => {
  const open = new Set<string>();
  const step = (name: string): LifecycleStep => ({
    name,
    start() {
      open.add(name);
    },
    stop() {
      open.delete(name);
    },
  });
  const taken: LifecycleStep = {
    name: 'server',
    start() {
      throw new Error('port 3001 is taken');
    },
  };
  const process = createLifecycle([step('journal'), taken]);
  await expect(process.start()).rejects.toThrow('port 3001 is taken');
  expect(open.size).toBe(0);
});
