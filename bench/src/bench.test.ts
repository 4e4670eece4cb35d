import { afterAll, expect, test } from 'bun:test';
import { tmpdir } from 'node:os';
import { hasProblems, type Results, runBench } from './bench.ts';
import { createChildren } from './children.ts';
import { parseOptions } from './config.ts';
import type { Part } from './part.ts';

const children = createChildren();
afterAll(() => children.stopAll(1_000));

function part(name: string, measure: Part['measure']): Part {
  return { name, what: 'made up', set: 'core', seconds: () => 1, measure, text: (data) => `found ${data}` };
}

const ALL = [
  part('first', async () => ({ data: 1, problems: [] })),
  part('broken', async () => {
    throw new Error('no such server');
  }),
  part('wrong', async () => ({ data: 3, problems: ['7 × status 503'] })),
];

async function run(...args: string[]) {
  const parsed = parseOptions(args, ALL);
  if (parsed.kind !== 'options') throw new Error(JSON.stringify(parsed));
  const printed: string[] = [];
  const saved: Results[] = [];
  const progress = () => {};
  const context = { options: parsed.options, allParts: ALL, children, folder: tmpdir(), progress };
  const results = await runBench({ ...context, print: (text) => printed.push(text) }, (sofar) =>
    saved.push(structuredClone(sofar)),
  );
  return { results, printed: printed.join('\n'), saved };
}

test('a part that fails is reported with its error, and the others go on', async () => {
  const { results, printed } = await run();
  expect(Object.keys(results.parts)).toEqual(['first', 'broken', 'wrong']);
  expect(results.parts['first']?.options).toStartWith('--rounds 5 --seconds 3 --warmup 1 ');
  expect(results.parts['broken']).toMatchObject({ problems: ['It failed: no such server'] });
  expect(results.parts['broken']).not.toHaveProperty('data');
  expect(printed).toContain('! It failed: no such server');
  expect(printed).toContain('found 3\n! 7 × status 503');
  expect(hasProblems(results)).toBe(true);
});

test('only the parts that were asked for are measured, and nothing wrong is no problem', async () => {
  const { results } = await run('--only', 'first');
  expect(Object.keys(results.parts)).toEqual(['first']);
  expect(hasProblems(results)).toBe(false);
});

test('what was measured is saved after every part', async () => {
  const { saved } = await run('--only', 'first,wrong');
  expect(saved.map(({ parts }) => Object.keys(parts))).toEqual([['first'], ['first', 'wrong']]);
});
