import { expect, test } from 'bun:test';
import type { Outcome } from '@libs/pipeline';
import { createGate } from './gate.ts';

const ACCEPTED: Outcome = { kind: 'accepted', journal: 'j', seq: 1, level: 'journal' };

test('open: passes everything on; closed: every record is told to come back, and nothing is passed on', async () => {
  let calls = 0;
  const gate = createGate(async (records) => {
    calls += 1;
    return records.map(() => ACCEPTED);
  });
  expect(await gate.accept([1, 2], { ack: 'journal' })).toEqual([ACCEPTED, ACCEPTED]);
  expect(gate.isClosed()).toBe(false);
  await gate.close();
  expect(gate.isClosed()).toBe(true);
  expect(await gate.accept([1, 2], { ack: 'journal' })).toMatchObject([
    { kind: 'retry', code: 'shutting_down' },
    { kind: 'retry', code: 'shutting_down' },
  ]);
  expect(await gate.accept([], { ack: 'journal' })).toEqual([]);
  expect(calls).toBe(1);
});

test('closing waits for everybody inside, also for those whose accept fails, and twice is once', async () => {
  const inside: PromiseWithResolvers<Outcome[]>[] = [];
  const gate = createGate(() => {
    const one = Promise.withResolvers<Outcome[]>();
    inside.push(one);
    return one.promise;
  });
  const answers = [gate.accept([1], { ack: 'journal' }), gate.accept([2], { ack: 'journal' })];
  let closed = 0;
  const closing = [gate.close(), gate.close()].map((one) => one.then(() => (closed += 1)));
  inside[0]?.resolve([ACCEPTED]);
  expect(await answers[0]).toEqual([ACCEPTED]);
  await Promise.resolve();
  expect(closed).toBe(0);
  inside[1]?.reject(new Error('a bug'));
  await expect(answers[1]).rejects.toThrow('a bug');
  await Promise.all(closing);
  expect(closed).toBe(2);
});
