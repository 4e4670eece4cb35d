import { expect, test } from 'bun:test';
import { createLifecycle, type LifecycleStep } from './lifecycle.ts';

/** Steps that write down what is asked of them. */
function recorded(log: string[], ...names: readonly string[]): LifecycleStep[] {
  return names.map((name) => ({
    name,
    start() {
      log.push(`start ${name}`);
    },
    async stop() {
      log.push(`stop ${name}`);
    },
  }));
}

test('steps start in order and stop in reverse, once', async () => {
  const log: string[] = [];
  const lifecycle = createLifecycle(recorded(log, 'a', 'b', 'c'));
  await lifecycle.start();
  const [first, second] = await Promise.all([lifecycle.stop(), lifecycle.stop()]);
  expect(log).toEqual(['start a', 'start b', 'start c', 'stop c', 'stop b', 'stop a']);
  expect(first).toEqual({ failed: [] });
  expect(second).toBe(first);
});

test('a start waits for the one before it', async () => {
  const log: string[] = [];
  const slow: LifecycleStep = {
    name: 'slow',
    async start() {
      await new Promise((resolve) => setTimeout(resolve, 5));
      log.push('slow is up');
    },
  };
  await createLifecycle([slow, ...recorded(log, 'next')]).start();
  expect(log).toEqual(['slow is up', 'start next']);
});

test('when a start fails, what had started is stopped, and the error is thrown on', async () => {
  const log: string[] = [];
  const broken = new Error('no port');
  const failing: LifecycleStep = {
    name: 'failing',
    async start() {
      throw broken;
    },
    stop() {
      log.push('stop failing');
    },
  };
  const lifecycle = createLifecycle([...recorded(log, 'a'), failing, ...recorded(log, 'b')]);
  expect(await lifecycle.start().catch((error) => error)).toBe(broken);
  expect(log).toEqual(['start a', 'stop a']);
});

test('a stop that fails or passes its deadline is reported, told by its signal, and does not keep the others', async () => {
  const log: string[] = [];
  let aborted = false;
  const hanging: LifecycleStep = {
    name: 'hanging',
    stopTimeoutMs: 5,
    stop: (signal) =>
      new Promise(() => {
        signal.addEventListener('abort', () => {
          aborted = true;
        });
      }),
  };
  const throwing: LifecycleStep = {
    name: 'throwing',
    stop() {
      throw new Error('no such file');
    },
  };
  const lifecycle = createLifecycle([...recorded(log, 'a'), hanging, throwing, { name: 'nothing to do' }]);
  await lifecycle.start();
  expect(await lifecycle.stop()).toEqual({
    failed: [
      { name: 'throwing', reason: 'no such file' },
      { name: 'hanging', reason: 'not done within 5 ms' },
    ],
  });
  expect(aborted).toBe(true);
  expect(log).toEqual(['start a', 'stop a']);
});
