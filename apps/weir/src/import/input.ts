/** Opens what is imported: a file or standard input, in one of three formats. */
import { open, stat } from 'node:fs/promises';
import { CommandError, EXIT_CODE, reasonOf } from '../exit-code.ts';
import { CSV_DEFAULTS, openCsv } from './csv-rows.ts';
import { readJsonArray, readNdjson } from './json-rows.ts';
import type { Rows } from './row.ts';

export const INPUT_FORMATS = ['csv', 'ndjson', 'json'] as const;
export type InputFormat = (typeof INPUT_FORMATS)[number];

export interface Input {
  readonly rows: Rows;
  /** Of a CSV input. */
  readonly header: readonly string[] | undefined;
  /** What the number of a row counts. */
  readonly unit: 'line' | 'element';
  readonly bytesTotal: number | undefined;
  bytesRead(): number;
}

/** A service takes events of 64 KiB unless told otherwise; a row may be wider than the event made of it. */
const ROW_BYTES_MAX = 1_048_576;
const READ_BYTES = 262_144;

/**
 * `path` is a file, or `-` for standard input. Throws `CommandError` (usage) when it cannot be read, when its format
 * is not known, or when a CSV file has no usable header.
 */
export async function openInput(
  path: string,
  format: InputFormat | undefined,
  delimiter: string,
  stdin: () => AsyncIterable<Uint8Array>,
): Promise<Input> {
  const known = format ?? formatOf(path);
  let bytes = 0;
  const source = path === '-' ? stdin() : readFile(path);
  const bytesTotal = path === '-' ? undefined : await sizeOf(path);
  const chunks = counted(source, (count) => {
    bytes += count;
  });
  const common = { bytesTotal, bytesRead: () => bytes };
  if (known === 'csv') {
    const { header, rows } = await openCsv(chunks, { ...CSV_DEFAULTS, delimiter });
    return { ...common, rows, header, unit: 'line' };
  }
  if (known === 'ndjson') {
    return { ...common, rows: readNdjson(chunks, { lineBytesMax: ROW_BYTES_MAX }), header: undefined, unit: 'line' };
  }
  const rows = readJsonArray(chunks, { elementBytesMax: ROW_BYTES_MAX });
  return { ...common, rows, header: undefined, unit: 'element' };
}

function formatOf(path: string): InputFormat {
  const ending = path.slice(path.lastIndexOf('.') + 1).toLowerCase();
  if (ending === 'csv' || ending === 'ndjson' || ending === 'json') return ending;
  if (ending === 'jsonl') return 'ndjson';
  const message = `The format of ${path === '-' ? 'standard input' : path} is not known: add --format csv, ndjson or json.`;
  throw new CommandError(EXIT_CODE.usage, 'unknown_format', message);
}

async function sizeOf(path: string): Promise<number | undefined> {
  const info = await stat(path).catch((error: unknown) => {
    throw unreadable(path, reasonOf(error));
  });
  if (info.isDirectory()) throw unreadable(path, 'it is a folder');
  // A pipe or device has no size that says anything.
  return info.isFile() ? info.size : undefined;
}

async function* readFile(path: string): AsyncGenerator<Uint8Array> {
  const file = await open(path, 'r').catch((error: unknown) => {
    throw unreadable(path, reasonOf(error));
  });
  try {
    const buffer = new Uint8Array(READ_BYTES);
    for (;;) {
      const { bytesRead } = await file.read(buffer, 0, buffer.length);
      if (bytesRead === 0) return;
      yield buffer.subarray(0, bytesRead);
    }
  } finally {
    await file.close();
  }
}

async function* counted(chunks: AsyncIterable<Uint8Array>, count: (bytes: number) => void): AsyncGenerator<Uint8Array> {
  for await (const chunk of chunks) {
    count(chunk.length);
    yield chunk;
  }
}

function unreadable(path: string, reason: string): CommandError {
  return new CommandError(EXIT_CODE.usage, 'unreadable_input', `${path} cannot be read: ${reason}.`);
}
