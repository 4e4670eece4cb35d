import { expect, test } from 'bun:test';
import { createColumnReader, encodeColumn, type IdColumn } from './id-column.ts';
import { createVolatileDisk } from './testing/index.ts';

const JOURNAL = '6ba7b810-9dad-41d1-80b4-00c04fd430c8';

function columnOf(segment: number, count: number): IdColumn {
  const ids = Uint8Array.from({ length: count * 16 }, (_, at) => (at * 31 + segment) & 255);
  return { journal: JOURNAL, segment, firstSeq: 1 + segment, ids, marks: [{ endSeq: 1 + segment + count, timeMs: 5 }] };
}

function writeFile(disk: ReturnType<typeof createVolatileDisk>, path: string, bytes: Uint8Array): void {
  const fd = disk.open(path, 'create');
  disk.write(fd, bytes, 0);
  disk.close(fd);
}

test('columns of any size are read one after another, and a short file never shows bytes of the one before', () => {
  const disk = createVolatileDisk();
  disk.makeFolder('/c');
  const columns = [3, 500, 1, 0, 499, 501].map((count, at) => columnOf(at, count));
  for (const [at, column] of columns.entries()) writeFile(disk, `/c/${at}`, encodeColumn(column));
  const whole = encodeColumn(columns[1] as IdColumn);
  // The same column without its end: what is missing still stands in the reader's memory.
  writeFile(disk, '/c/cut', whole.slice(0, whole.byteLength - 16));
  writeFile(disk, '/c/empty', new Uint8Array(0));

  const read = createColumnReader(disk);
  for (const [at, column] of columns.entries()) {
    const found = read(`/c/${at}`);
    expect(found).toEqual(column);
    expect(
      new Uint32Array(found?.ids.buffer as ArrayBuffer, found?.ids.byteOffset, column.ids.byteLength / 4).length,
    ).toBe(column.ids.byteLength / 4);
    expect(read('/c/1')).toEqual(columns[1] as IdColumn);
    expect(read('/c/cut')).toBeUndefined();
    expect(read('/c/empty')).toBeUndefined();
  }
});
