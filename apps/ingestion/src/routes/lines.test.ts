import { describe, expect, test } from 'bun:test';
import { createLineSplitter } from './lines.ts';

const encoder = new TextEncoder();
const decoder = new TextDecoder();

function split(chunks: readonly Uint8Array[], lineBytesMax = 100): string[] {
  const seen: string[] = [];
  const splitter = createLineSplitter(lineBytesMax, {
    line: (bytes, number) => seen.push(`${number}:${decoder.decode(bytes)}`),
    tooLong: (number) => seen.push(`${number}:too long`),
  });
  for (const chunk of chunks) splitter.push(chunk);
  splitter.end();
  return seen;
}

function inChunksOf(size: number, text: string): Uint8Array[] {
  const bytes = encoder.encode(text);
  const chunks: Uint8Array[] = [];
  for (let from = 0; from < bytes.length; from += size) chunks.push(bytes.slice(from, from + size));
  return chunks;
}

describe('createLineSplitter', () => {
  test('numbers every line, skips blank ones and takes CRLF', () => {
    expect(split([encoder.encode('a\n\n \t\r\nb\r\nc')])).toEqual(['1:a', '4:b', '5:c']);
  });

  test('finds nothing in nothing', () => {
    expect(split([])).toEqual([]);
    expect(split([encoder.encode('\n\r\n\n')])).toEqual([]);
  });

  test('gives the same lines wherever the chunks end', () => {
    const text = '{"a":"é"}\r\n\n{"b":"😀"}\nlast';
    const whole = split([encoder.encode(text)]);
    expect(whole).toEqual(['1:{"a":"é"}', '3:{"b":"😀"}', '4:last']);
    for (let size = 1; size <= 30; size += 1) expect(split(inChunksOf(size, text))).toEqual(whole);
    const bytes = encoder.encode(text);
    for (let at = 0; at <= bytes.length; at += 1) expect(split([bytes.slice(0, at), bytes.slice(at)])).toEqual(whole);
  });

  test('does not keep views of a chunk that the reader uses again', () => {
    const buffer = new Uint8Array(4);
    const seen: string[] = [];
    const splitter = createLineSplitter(100, {
      line: (bytes) => seen.push(decoder.decode(bytes)),
      tooLong: () => seen.push('too long'),
    });
    for (const part of ['abcd', 'efg\n', 'xyz\n']) {
      buffer.set(encoder.encode(part));
      splitter.push(buffer);
    }
    expect(seen).toEqual(['abcdefg', 'xyz']);
  });

  test('a line of exactly the limit is a line; one byte more is too long, and what follows is read', () => {
    const text = `${'x'.repeat(10)}\n${'y'.repeat(11)}\nz\n${'w'.repeat(500)}`;
    const expected = [`1:${'x'.repeat(10)}`, '2:too long', '3:z', '4:too long'];
    for (const size of [1, 3, 7, 10, 11, 600]) expect(split(inChunksOf(size, text), 10)).toEqual(expected);
  });

  test('an endless line costs no memory beyond the limit', () => {
    const chunk = new Uint8Array(64 * 1024).fill(0x61);
    let tooLong = 0;
    const splitter = createLineSplitter(70_000, { line: () => expect.unreachable(), tooLong: () => (tooLong += 1) });
    const before = process.memoryUsage().arrayBuffers;
    for (let i = 0; i < 2000; i += 1) splitter.push(chunk);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(4 * 1024 * 1024);
    splitter.end();
    expect(tooLong).toBe(1);
  });
});
