import { expect, test } from 'bun:test';
import { hottest } from './profile.ts';

function node(functionName: string, url: string, lineNumber: number, hitCount?: number) {
  return { callFrame: { functionName, url, lineNumber }, ...(hitCount === undefined ? {} : { hitCount }) };
}

test('the five functions with the most samples, wherever in the tree they were met', () => {
  const { samples, top } = hottest({
    nodes: [
      node('(root)', '', -1),
      node('validate', 'file:///a/model.ts', 9, 20),
      node('append', 'file:///a/journal.ts', 99, 10),
      node('validate', 'file:///a/model.ts', 9, 20),
      node('parse', '', -1, 15),
      node('', '', -1, 30),
      node('', '', 12, 4),
      node('rare', 'file:///a/rare.ts', 0, 1),
    ],
  });
  expect(samples).toBe(100);
  expect(top).toEqual([
    { name: 'validate (model.ts:10)', selfFraction: 0.4 },
    { name: '(the runtime outside of any function)', selfFraction: 0.3 },
    { name: 'parse (runtime)', selfFraction: 0.15 },
    { name: 'append (journal.ts:100)', selfFraction: 0.1 },
    { name: '(generated code)', selfFraction: 0.04 },
  ]);
});
