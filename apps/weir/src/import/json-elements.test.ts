import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { createElementSplitter } from './json-elements.ts';

function split(text: string, chunkBytes: number, elementBytesMax = 1_000_000) {
  const splitter = createElementSplitter({ elementBytesMax });
  const bytes = Buffer.from(text);
  const elements: (string | undefined)[] = [];
  for (let at = 0; at < bytes.length; at += chunkBytes) {
    for (const element of splitter.push(bytes.subarray(at, at + chunkBytes))) {
      elements.push('bytes' in element ? Buffer.from(element.bytes).toString().trim() : undefined);
    }
  }
  splitter.end();
  return elements;
}

describe('elements of a JSON document', () => {
  test('any array gives its elements, however the bytes arrive', () =>
    fc.assert(
      fc.property(
        fc.array(fc.jsonValue(), { maxLength: 10 }),
        fc.constantFrom(undefined, 2, '\t'),
        fc.integer({ min: 1, max: 50 }),
        (values, indent, chunkBytes) => {
          const elements = split(JSON.stringify(values, null, indent), chunkBytes);
          expect(elements.map((text) => JSON.parse(text ?? ''))).toEqual(JSON.parse(JSON.stringify(values)));
        },
      ),
    ));

  test('the array under "events", whatever stands beside it', () =>
    fc.assert(
      fc.property(
        fc.jsonValue(),
        fc.array(fc.jsonValue()),
        fc.integer({ min: 1, max: 50 }),
        (other, values, chunkBytes) => {
          const document = {
            before: other,
            list: [other],
            text: 'events',
            'eve"nts': ['no'],
            events: values,
            after: other,
          };
          const elements = split(JSON.stringify(document), chunkBytes);
          expect(elements.map((text) => JSON.parse(text ?? ''))).toEqual(JSON.parse(JSON.stringify(values)));
        },
      ),
    ));

  test('bytes stay as they were written', () => {
    expect(split('[ 1.00 , {"a":1e400,"a":2} ,"\\u0000]" ]', 3)).toEqual(['1.00', '{"a":1e400,"a":2}', '"\\u0000]"']);
    expect(split('[]', 1)).toEqual([]);
    expect(split(' [ \n ] ', 1)).toEqual([]);
  });

  test('an element that is too long is named, and the next one is read', () => {
    expect(split(`[1,"${'x'.repeat(50)}",3]`, 8, 20)).toEqual(['1', undefined, '3']);
  });

  test.each([
    ['', 'it is empty'],
    ['"text"', 'neither [ nor {'],
    ['{"a":1}', 'without an array under "events"'],
    ['[1,2', 'cut off'],
    ['[1,,2]', 'an element is missing'],
    ['[1,2,]', 'an element is missing'],
    ['[1] 2', 'behind the end'],
    ['[}]', 'closes nothing'],
    ['{"events": [1', 'cut off'],
  ])('%s is refused', (text, words) => {
    expect(() => split(text, 2)).toThrow(words);
  });
});
