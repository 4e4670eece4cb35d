import { expect, test } from 'bun:test';
import { createGatherer } from './testing-front-gather.ts';

const query = 'INSERT INTO t FORMAT JSONEachRow';
const search = (settings: Record<string, string>) => new URLSearchParams({ query, ...settings });
const GATHERED = { async_insert: '1', wait_for_async_insert: '0' };

function gatherer() {
  const inserts: string[] = [];
  const made = createGatherer(async (sql) => inserts.push(sql));
  return { ...made, inserts };
}

test('what nobody waits for becomes one insert, without empty lines between its rows', async () => {
  const { take, close, inserts } = gatherer();
  for (const row of ['{"a":1}\n', '{"a":2}', '{"a":3}\n\n']) expect(take(search(GATHERED), row)).toBe(true);
  expect(inserts).toEqual([]);
  await close();
  expect(inserts).toEqual([`${query}\n{"a":1}\n{"a":2}\n{"a":3}`]);
});

test('every other statement is left alone', async () => {
  const { take, close, inserts } = gatherer();
  const others = [{}, { ...GATHERED, wait_for_async_insert: '1' }, { ...GATHERED, async_insert: '0' }];
  expect(others.map((settings) => take(search(settings), '{}'))).toEqual([false, false, false]);
  expect(take(search({ ...GATHERED, query: 'SELECT 1' }), '')).toBe(false);
  await close();
  expect(inserts).toEqual([]);
});

test('it goes by itself after a moment, and at once when much is there', async () => {
  const { take, inserts, close } = gatherer();
  take(search(GATHERED), '{}');
  while (inserts.length < 1) await Bun.sleep(5);
  take(search(GATHERED), 'x'.repeat(10 * 1024 * 1024));
  expect(inserts).toHaveLength(2);
  await close();
  expect(inserts).toHaveLength(2);
});

test('an insert that fails is heard of by nobody, and the next one is tried', async () => {
  let tries = 0;
  const { take, close } = createGatherer(async () => {
    tries += 1;
    throw new Error('no such table');
  });
  take(search(GATHERED), '{}');
  while (tries < 1) await Bun.sleep(5);
  take(search(GATHERED), '{}');
  await close();
  expect(tries).toBe(2);
});
