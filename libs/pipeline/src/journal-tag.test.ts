import { expect, test } from 'bun:test';
import { journalTag } from './journal-tag.ts';

test('a tag is a decimal number that Redis stores as an integer, always the same for a journal', () => {
  const tags = new Set<string>();
  for (let at = 0; at < 20_000; at++) {
    const tag = journalTag(crypto.randomUUID());
    expect(tag).toMatch(/^\d{1,15}$/);
    expect(Number(tag)).toBeLessThan(2 ** 48);
    tags.add(tag);
  }
  expect(tags.size).toBe(20_000);
  expect(journalTag('0190a1b2-0000-7000-8000-00000000c0de')).toBe(journalTag('0190a1b2-0000-7000-8000-00000000c0de'));
});

test('journals that differ in one digit have different tags', () => {
  const base = '0190a1b2-0000-7000-8000-00000000c0de';
  const others = [...base].map((digit, at) => base.slice(0, at) + (digit === 'f' ? 'e' : 'f') + base.slice(at + 1));
  expect(new Set([base, ...others].map(journalTag)).size).toBe(others.length + 1);
});
