import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { CSV_DEFAULTS, type CsvOptions, openCsv } from './csv-rows.ts';
import type { Row } from './row.ts';

async function* chunksOf(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  // The same buffer each time, as a file reader would.
  const buffer = new Uint8Array(size);
  for (let at = 0; at < bytes.length; at += size) {
    const count = Math.min(size, bytes.length - at);
    buffer.set(bytes.subarray(at, at + count));
    yield buffer.subarray(0, count);
  }
}

async function read(text: string | Uint8Array, options: Partial<CsvOptions> = {}, chunkBytes = 7) {
  const bytes = typeof text === 'string' ? Buffer.from(text) : text;
  const csv = await openCsv(chunksOf(bytes, chunkBytes), { ...CSV_DEFAULTS, ...options });
  const rows: Row[] = [];
  for await (const group of csv.rows) rows.push(...group);
  return { header: csv.header, rows };
}

const short = (row: Row) =>
  row.kind === 'cells' ? [row.number, row.cells] : [row.number, row.kind === 'bad' && row.rejection.code];

describe('well-formed CSV', () => {
  test('what is written is read, however the bytes arrive', () =>
    fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.array(fc.string({ unit: fc.constantFrom('a', '"', ',', '\n', '\r', ' ', 'é', '日', '🎈') }), {
            minLength: 2,
            maxLength: 2,
          }),
          {
            maxLength: 12,
          },
        ),
        fc.constantFrom('\n', '\r\n'),
        fc.boolean(),
        fc.integer({ min: 1, max: 40 }),
        async (cells, lineEnd, endsWithLine, chunkBytes) => {
          const written = [['a', 'b'], ...cells].map((row) =>
            row.map((cell) => `"${cell.replaceAll('"', '""')}"`).join(','),
          );
          const text = written.join(lineEnd) + (endsWithLine ? lineEnd : '');
          const { header, rows } = await read(text, {}, chunkBytes);
          expect(header).toEqual(['a', 'b']);
          expect(rows.map((row) => row.kind === 'cells' && row.cells)).toEqual(cells);
        },
      ),
      { numRuns: 300 },
    ));

  test('byte order mark, blank lines, empty cells, no line end at the end', async () => {
    const { header, rows } = await read('\ufeffa,b,c\r\n\r\n1,,\r\n"",2,"3"\r\n,,');
    expect(header).toEqual(['a', 'b', 'c']);
    expect(rows.map(short)).toEqual([
      [3, ['1', '', '']],
      [4, ['', '2', '3']],
      [5, ['', '', '']],
    ]);
  });

  test('the number of a row is the line it begins on', async () => {
    const { rows } = await read('a,b\n1,"x\ny\n\nz"\n2,w\n');
    expect(rows.map(short)).toEqual([
      [2, ['1', 'x\ny\n\nz']],
      [6, ['2', 'w']],
    ]);
  });

  test('another delimiter', async () => {
    const { header, rows } = await read('a;b\n1,5;"x;y"\n', { delimiter: ';' });
    expect(header).toEqual(['a', 'b']);
    expect(rows.map(short)).toEqual([[2, ['1,5', 'x;y']]]);
  });
});

describe('broken CSV costs the broken row and nothing else', () => {
  test('quotes where none may be, and wrong field counts', async () => {
    const { rows } = await read('a,b\n1,x"y\n"q"z,2\n3\n4,5,6\n"7" ,8\n9,fine\n');
    expect(rows.map(short)).toEqual([
      [2, 'malformed_csv'],
      [3, 'malformed_csv'],
      [4, 'column_count'],
      [5, 'column_count'],
      [6, 'malformed_csv'],
      [7, ['9', 'fine']],
    ]);
  });

  test('a quote that is never closed costs its line, not the rest of the file', async () => {
    const { rows } = await read('a,b\n1,"x\n5,6\n7,8\n');
    expect(rows.map(short)).toEqual([
      [2, 'malformed_csv'],
      [3, ['5', '6']],
      [4, ['7', '8']],
    ]);
  });

  test('an open quote that the next quoted row seems to close', async () => {
    const { rows } = await read('a,b\n1,"x\n2,"y"\n3,"z"\n4,"v\nw"\n');
    expect(rows.map(short)).toEqual([
      [2, 'malformed_csv'],
      [3, ['2', 'y']],
      [4, ['3', 'z']],
      [5, ['4', 'v\nw']],
    ]);
  });

  test('an open quote gives up at its bound, not at the end of the file', async () => {
    const body = Array.from({ length: 100 }, (_, index) => `${index},v`).join('\n');
    const { rows } = await read(`a,b\n0,"open\n${body}\n`, { recordCharactersMax: 50 });
    expect(rows).toHaveLength(101);
    expect(rows.filter((row) => row.kind === 'bad')).toHaveLength(1);
  });

  test('a line that is too long, and one that is no UTF-8', async () => {
    const text = Buffer.concat([
      Buffer.from(`a,b\n1,${'x'.repeat(100)}\n2,`),
      Buffer.from([0xc3, 0x28]),
      Buffer.from('\n3,z\n'),
    ]);
    const { rows } = await read(text, { lineBytesMax: 50 });
    expect(rows.map(short)).toEqual([
      [2, 'line_too_long'],
      [3, 'invalid_utf8'],
      [4, ['3', 'z']],
    ]);
  });

  test('every line is read or rejected, whatever stands in the file', () =>
    fc.assert(
      fc.asyncProperty(
        fc.array(fc.string({ unit: fc.constantFrom('a', '"', ',', '\r', ' '), maxLength: 8 }), { maxLength: 40 }),
        fc.integer({ min: 10, max: 60 }),
        async (lines, recordCharactersMax) => {
          const { rows } = await read(['h,i', ...lines].join('\n'), { recordCharactersMax });
          const seen = rows.flatMap((row) =>
            row.raw.split('\n').map((text, index) => ({ number: row.number + index, text })),
          );
          const expected = lines.map((text, index) => ({ number: index + 2, text }));
          const blank = (text: string) => text === '' || text === '\r';
          expect(seen.filter(({ text }) => !blank(text))).toEqual(expected.filter(({ text }) => !blank(text)));
        },
      ),
      { numRuns: 500 },
    ));

  test('many quoted lines behind an open quote are read in linear time', async () => {
    // 60,000 lines with quotes in pairs: reading the record again for each of them would take minutes.
    const text = `a,b\n1,"open\n${'x""y\n'.repeat(60_000)}`;
    const { rows } = await read(text, {}, 65_536);
    expect(rows).toHaveLength(60_001);
  });
});

describe('headers', () => {
  test.each([
    ['', 'empty'],
    ['\n\n', 'empty'],
    ['a,b,a\n', 'names a column twice: a'],
    ['a,"b\n1,2\n', 'cannot be read'],
  ])('%j is refused', async (text, words) => {
    expect(read(text)).rejects.toThrow(words);
  });

  test('UTF-16 is refused with what to do', async () => {
    expect(read(Buffer.from('\ufeffa,b\n1,2\n', 'utf16le'))).rejects.toThrow('iconv');
  });
});
