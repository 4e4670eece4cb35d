import { describe, expect, test } from 'bun:test';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startFakeService } from './fake-service.ts';
import { REES46, runCli, SHOP_CSV } from './run-cli.ts';

const MAPPING = join(REES46, 'mapping.json');

async function withFolder<T>(work: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'weir-cli-'));
  try {
    return await work(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}

describe('inputs', () => {
  test('NDJSON events are sent as they stand; bad lines are rejected with their numbers and written to --rejects', () =>
    withFolder(async (folder) => {
      using service = startFakeService();
      const path = join(folder, 'events.ndjson');
      const rejects = join(folder, 'rejects.ndjson');
      const lines = ['{"eventId":"a","n":1e400}', '', '{"eventId":', '{"eventId":"b"}\r', 'null{'];
      await writeFile(
        path,
        Buffer.concat([Buffer.from(`${lines.join('\n')}\n`), Buffer.from([0x7b, 0xff, 0x7d, 0x0a])]),
      );
      const { exitCode, out } = await runCli(['import', path, '--url', service.url, '--json', '--rejects', rejects]);
      expect(exitCode).toBe(1);
      expect(JSON.parse(out)).toMatchObject({ read: 5, accepted: 2, rejected: 3 });
      const written = (await Bun.file(rejects).text())
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line));
      expect(written.map(({ number, code }) => [number, code])).toEqual([
        [3, 'malformed_json'],
        [5, 'malformed_json'],
        [6, 'invalid_utf8'],
      ]);
      expect(written[0].row).toBe('{"eventId":');
      // Read again by JSON.parse here; a number that was parsed and written on the way would have become null.
      expect(service.stored.get('a')?.['n']).toBe(Number.POSITIVE_INFINITY);
    }));

  test('a JSON document: an array, and {"events": […]}', () =>
    withFolder(async (folder) => {
      using service = startFakeService();
      const array = join(folder, 'array.json');
      const object = join(folder, 'object.json');
      await writeFile(array, JSON.stringify([{ eventId: 'a' }, { eventId: 'b', data: { text: '],[' } }], null, 2));
      await writeFile(object, JSON.stringify({ note: ['events'], events: [{ eventId: 'c' }], options: {} }));
      expect(JSON.parse((await runCli(['import', array, '--url', service.url, '--json'])).out)).toMatchObject({
        accepted: 2,
      });
      expect(JSON.parse((await runCli(['import', object, '--url', service.url, '--json'])).out)).toMatchObject({
        accepted: 1,
      });
      expect([...service.stored.keys()]).toEqual(['a', 'b', 'c']);
    }));

  test('a JSON document that is cut off: what stood before it is sent, exit code 2', () =>
    withFolder(async (folder) => {
      using service = startFakeService();
      const path = join(folder, 'cut.json');
      await writeFile(path, '[{"eventId":"a"},{"eventId":"b"');
      const { exitCode, out, err } = await runCli(['import', path, '--url', service.url, '--json']);
      expect(exitCode).toBe(2);
      expect(JSON.parse(out)).toMatchObject({ outcome: 'failed', error: 'malformed_json', accepted: 1 });
      expect(err).toContain('cut off');
    }));

  test('a broken CSV row costs only itself', async () => {
    using service = startFakeService();
    const rows = ['a,b', '1,x', '2,"open', '3,y"z', '4,"q"q', '5', '6,"fine, too"'];
    const mapping = {
      constants: { storeId: 's', sessionId: 'x', eventType: 'item_added', timestamp: '2026-01-01T00:00:00Z' },
      columns: { a: 'eventId', b: 'data.b' },
    };
    await withFolder(async (folder) => {
      const path = join(folder, 'mapping.json');
      await writeFile(path, JSON.stringify(mapping));
      const { exitCode, out } = await runCli(
        ['import', '-', '--format', 'csv', '--mapping', path, '--url', service.url, '--json'],
        { stdin: `\ufeff${rows.join('\r\n')}` },
      );
      expect(exitCode).toBe(1);
      expect(JSON.parse(out)).toMatchObject({ read: 6, accepted: 2, rejected: 4 });
      expect([...service.stored.values()].map(({ data }) => data)).toEqual([{ b: 'x' }, { b: 'fine, too' }]);
    });
  });

  test('usage errors exit with 2 and say everything that is wrong', () =>
    withFolder(async (folder) => {
      const mapping = join(folder, 'mapping.json');
      await writeFile(mapping, JSON.stringify({ columns: { a: 'dta.x', b: 'eventId' }, extra: 1 }));
      const invalid = await runCli(['import', SHOP_CSV, '--mapping', mapping]);
      expect(invalid.exitCode).toBe(2);
      expect(invalid.err).toContain('extra: is not a setting of a mapping');
      expect(invalid.err).toContain('columns.a.to: "dta.x" is no part of an event');
      expect(invalid.err).toContain('storeId: every event needs one');
      const without = await runCli(['import', SHOP_CSV, '--json']);
      expect(without.exitCode).toBe(2);
      expect(JSON.parse(without.err)).toMatchObject({ error: 'mapping_required' });
      expect((await runCli(['import', join(folder, 'missing.csv'), '--mapping', MAPPING])).exitCode).toBe(2);
      expect((await runCli(['import', '-'], { stdin: '' })).err).toContain('--format');
      expect((await runCli(['import', SHOP_CSV, '--batch', '1001'])).exitCode).toBe(2);
      expect((await runCli(['import', SHOP_CSV, '--url', 'ftp://x'])).exitCode).toBe(2);
      expect((await runCli(['nonsense'])).exitCode).toBe(2);
    }));

  test('a mapping whose columns the file lacks names all of them', async () => {
    const { exitCode, err } = await runCli(['import', '-', '--format', 'csv', '--mapping', MAPPING], {
      stdin: 'event_time,event_type,brand\n',
    });
    expect(exitCode).toBe(2);
    for (const column of ['user_id', 'user_session', 'product_id', 'category_id', 'category_code', 'price']) {
      expect(err).toContain(`  ${column}\n`);
    }
  });
});
