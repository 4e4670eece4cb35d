import { expect, test } from 'bun:test';
import { EVENT_NAMESPACE, uuidv5 } from './uuid.ts';

const DNS = '6ba7b810-9dad-11d1-80b4-00c04fd430c8';

test('agrees with the example of RFC 9562 and with Bun', () => {
  expect(uuidv5(DNS, 'www.example.com')).toBe('2ed6657d-e927-568b-95e1-2665a8aea6a2');
  for (const name of ['', 'a', 'Zürich 😀', 'x'.repeat(10_000)]) {
    expect(uuidv5(EVENT_NAMESPACE, name)).toBe(Bun.randomUUIDv5(name, EVENT_NAMESPACE));
  }
});

test('takes the namespace in either case and refuses what is no UUID', () => {
  expect(uuidv5(DNS.toUpperCase(), 'a')).toBe(uuidv5(DNS, 'a'));
  expect(() => uuidv5('dns', 'a')).toThrow('no UUID');
});
