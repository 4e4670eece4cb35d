import { expect, test } from 'bun:test';
import { createSlots } from './downstream-slots.ts';

const NEVER = new AbortController().signal;

test('first come, first served, and never more than there are', async () => {
  const slots = createSlots(2);
  const order: number[] = [];
  let held = 0;
  let heldMax = 0;
  await Promise.all(
    Array.from({ length: 20 }, async (_, at) => {
      expect(await slots.acquire(NEVER)).toBe(true);
      heldMax = Math.max(heldMax, ++held);
      order.push(at);
      await Promise.resolve();
      held--;
      slots.release();
    }),
  );
  expect(order).toEqual(Array.from({ length: 20 }, (_, at) => at));
  expect(heldMax).toBe(2);
});

test('who aborts leaves the queue, and its place goes to the next one', async () => {
  const slots = createSlots(1);
  await slots.acquire(NEVER);
  const leaving = new AbortController();
  const left = slots.acquire(leaving.signal);
  const next = slots.acquire(NEVER);
  leaving.abort();
  expect(await left).toBe(false);
  slots.release();
  expect(await next).toBe(true);
  // An abort after the slot was given changes nothing: it is still ours to give back.
  const late = new AbortController();
  const third = slots.acquire(late.signal);
  slots.release();
  late.abort();
  expect(await third).toBe(true);
  slots.release();
  expect(await slots.acquire(NEVER)).toBe(true);
  expect(await slots.acquire(AbortSignal.abort())).toBe(false);
});
