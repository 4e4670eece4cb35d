/** Rows of NDJSON and of JSON documents, as the text that stood there. */
import { createElementSplitter } from './json-elements.ts';
import { dropByteOrderMark, readLines } from './lines.ts';
import { badRow, type Row } from './row.ts';

/** One JSON value a line; blank lines are skipped. */
export async function* readNdjson(
  chunks: AsyncIterable<Uint8Array>,
  options: { readonly lineBytesMax: number },
): AsyncGenerator<Row[]> {
  for await (const lines of readLines(chunks, options)) {
    const rows: Row[] = [];
    for (const line of lines) {
      if ('code' in line) rows.push(badRow(line.number, '', line.code, line.message));
      else if (line.text.trim() !== '') rows.push({ kind: 'json', number: line.number, raw: line.text.trim() });
    }
    if (rows.length > 0) yield rows;
  }
}

/** The elements of an array of events, or of `{"events": […]}`. */
export async function* readJsonArray(
  chunks: AsyncIterable<Uint8Array>,
  options: { readonly elementBytesMax: number },
): AsyncGenerator<Row[]> {
  const splitter = createElementSplitter(options);
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  for await (const chunk of dropByteOrderMark(chunks)) {
    const rows = splitter.push(chunk).map((element): Row => {
      if ('code' in element) return badRow(element.number, '', element.code, element.message);
      try {
        return { kind: 'json', number: element.number, raw: decoder.decode(element.bytes).trim() };
      } catch (error) {
        if (!(error instanceof TypeError)) throw error;
        return badRow(element.number, '', 'invalid_utf8', 'the element is not valid UTF-8: convert the file first');
      }
    });
    if (rows.length > 0) yield rows;
  }
  splitter.end();
}
