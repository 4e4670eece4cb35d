import { describe, expect, test } from 'bun:test';
import { join } from 'node:path';
import { startFakeService } from './fake-service.ts';
import { REES46, runCli, SHOP_CSV, spawnCli } from './run-cli.ts';

const MAPPING = join(REES46, 'mapping.json');
const SHOP_ROWS = 20;

const importShop = (url: string, ...args: string[]) =>
  runCli(['import', SHOP_CSV, '--mapping', MAPPING, '--url', url, '--json', ...args]);

const events = (count: number) =>
  Array.from({ length: count }, (_, index) => JSON.stringify({ eventId: `e${index}`, eventType: 'item_added' }));

describe('import of the example mapping', () => {
  test('stores every row once, and counts them as duplicates the second time', async () => {
    using service = startFakeService();
    const first = await importShop(service.url);
    expect(first.err).toBe('');
    expect(JSON.parse(first.out)).toMatchObject({
      outcome: 'complete',
      read: SHOP_ROWS,
      accepted: SHOP_ROWS,
      duplicates: 0,
      rejected: 0,
      unconfirmed: 0,
    });
    expect(first.exitCode).toBe(0);
    expect(service.stored.size).toBe(SHOP_ROWS);
    const second = await importShop(service.url);
    expect(JSON.parse(second.out)).toMatchObject({ read: SHOP_ROWS, accepted: 0, duplicates: SHOP_ROWS, rejected: 0 });
    expect(second.exitCode).toBe(0);
    expect(service.stored.size).toBe(SHOP_ROWS);
  });

  test('maps every column to its place', async () => {
    using service = startFakeService();
    await importShop(service.url);
    const stored = [...service.stored.values()];
    expect(stored[7]).toEqual({
      eventId: stored[7]?.eventId as string,
      eventType: 'purchase_completed',
      timestamp: '2021-03-04T08:02:00.000Z',
      storeId: 'rees46',
      userId: '503',
      sessionId: '0a0d5c1e-1111-4aaa-8bbb-000000000003',
      data: {
        productId: '1003',
        categoryId: '9000000000000000003',
        categoryCode: 'kitchen.kettle',
        brand: 'Smith, Sons & Co',
        price: 39.95,
      },
    });
    expect(stored[3]?.['data']).toEqual({ productId: '1002', categoryId: '9000000000000000002', price: 5 });
    expect(stored[8]?.['data']).toMatchObject({ brand: 'the "good" one', price: 0 });
    expect(stored[12]?.['data']).toMatchObject({ categoryCode: 'toys.\npuzzles' });
    expect(Object.groupBy(stored, (event) => String(event.eventType))).toMatchObject({
      product_viewed: { length: 13 },
      item_added: { length: 4 },
      item_removed: { length: 1 },
      purchase_completed: { length: 2 },
    });
  });

  test('rejects by name what the service does not know, and exits with 1', async () => {
    using service = startFakeService({
      judge: ({ eventType }) =>
        eventType === 'product_viewed'
          ? { code: 'unknown_event_type', field: 'eventType', message: '"product_viewed" is not registered' }
          : undefined,
    });
    const { exitCode, out } = await importShop(service.url);
    expect(exitCode).toBe(1);
    expect(JSON.parse(out)).toMatchObject({
      accepted: 7,
      rejected: 13,
      reasons: [{ code: 'unknown_event_type', field: 'eventType', count: 13, rows: [2, 3, 5, 7, 10] }],
    });
    const people = await runCli(['import', SHOP_CSV, '--mapping', MAPPING, '--url', service.url]);
    expect(people.out).toMatch(/rejected\s+13/);
    expect(people.out).toContain('unknown_event_type  eventType  (lines 2, 3, 5, 7, 10, …)');
    expect(people.out).toContain('"product_viewed" is not registered');
  });

  test('--dry-run prints events and sends none', async () => {
    using service = startFakeService();
    const { exitCode, out } = await importShop(service.url, '--dry-run', '3');
    expect(exitCode).toBe(0);
    const printed = out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(printed).toHaveLength(3);
    expect(printed[0]).toMatchObject({ storeId: 'rees46', data: { productId: '1001' } });
    // Two rows that are alike in every column but stand on two lines.
    expect(printed[0].eventId).not.toBe(printed[1].eventId);
    expect(service.attempts()).toBe(0);
  });
});

describe('faults of the service', () => {
  test('503 with Retry-After and 429 are tried again', async () => {
    using service = startFakeService({
      fault: (_events, attempt) => {
        const error = attempt === 1 ? 'journal_full' : 'rate_limited';
        const status = attempt === 1 ? 503 : 429;
        const init = { status, headers: { 'retry-after': '0' } };
        return attempt <= 2 ? Response.json({ error, message: 'wait', requestId: 'r' }, init) : undefined;
      },
    });
    const { exitCode, out } = await importShop(service.url);
    expect(exitCode).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ accepted: SHOP_ROWS, resent: 2 * SHOP_ROWS, resentAfterLostReply: 0 });
    expect(service.attempts()).toBe(3);
  });

  test('only the events that are answered retry are sent again', async () => {
    const sent: number[] = [];
    using service = startFakeService({
      retryOnce: new Set(['e1', 'e3']),
      fault: (batch) => {
        sent.push(batch.length);
        return undefined;
      },
    });
    const { exitCode, out } = await runCli(['import', '-', '--format', 'ndjson', '--url', service.url, '--json'], {
      stdin: events(5).join('\n'),
    });
    expect(exitCode).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ accepted: 5, duplicates: 0, resent: 2 });
    expect(sent).toEqual([5, 2]);
  });

  test('a service that dies behind the write, before its reply, and comes back: nothing is lost or stored twice', async () => {
    using service = startFakeService({ dieAfter: 1 });
    const { exitCode, out } = await importShop(service.url, '--retry-for', '30');
    expect(exitCode).toBe(0);
    expect(JSON.parse(out)).toMatchObject({
      accepted: 0,
      duplicates: SHOP_ROWS,
      resent: SHOP_ROWS,
      resentAfterLostReply: SHOP_ROWS,
    });
    expect(service.stored.size).toBe(SHOP_ROWS);
  });

  test('nobody there: exit code 3, nothing confirmed, and a sentence', async () => {
    const gone = startFakeService();
    gone[Symbol.dispose]();
    const { exitCode, out, err } = await importShop(gone.url, '--retry-for', '0');
    expect(exitCode).toBe(3);
    expect(JSON.parse(out)).toMatchObject({
      outcome: 'failed',
      error: 'unreachable',
      read: SHOP_ROWS,
      unconfirmed: SHOP_ROWS,
    });
    expect(err).toContain('Run the same import again');
  });

  test('a batch that is refused as a whole is halved until the one to blame stands alone', async () => {
    using service = startFakeService({
      fault: (batch) =>
        batch.some(({ eventId }) => eventId === 'e11')
          ? Response.json({ error: 'payload_too_large', message: 'too large', requestId: 'r' }, { status: 413 })
          : undefined,
    });
    const { exitCode, out } = await runCli(['import', '-', '--format', 'ndjson', '--url', service.url, '--json'], {
      stdin: events(20).join('\n'),
    });
    expect(exitCode).toBe(1);
    expect(JSON.parse(out)).toMatchObject({
      accepted: 19,
      rejected: 1,
      reasons: [{ code: 'payload_too_large', rows: [12] }],
    });
    expect(service.stored.has('e11')).toBe(false);
  });

  test('something that is no Weir ends the import at once', async () => {
    using service = startFakeService({ fault: () => new Response('<html>', { status: 200 }) });
    const { exitCode, out, err } = await importShop(service.url);
    expect(exitCode).toBe(1);
    expect(JSON.parse(out)).toMatchObject({ outcome: 'failed', error: 'unknown_reply' });
    expect(err).toContain('no Weir answered');
    expect(service.attempts()).toBe(1);
  });

  test('401 ends it with the words of the service', async () => {
    using service = startFakeService({
      fault: () =>
        Response.json({ error: 'unauthorized', message: 'a token is needed', requestId: 'r' }, { status: 401 }),
    });
    const { exitCode, err } = await importShop(service.url);
    expect(exitCode).toBe(1);
    expect(err).toContain('a token is needed');
  });
});

describe('batches and bounds', () => {
  test('at most --in-flight requests of at most --batch events', async () => {
    const sizes: number[] = [];
    using service = startFakeService({
      fault: async (batch) => {
        sizes.push(batch.length);
        await new Promise((resolve) => setTimeout(resolve, 1));
        return undefined;
      },
    });
    const args = [
      'import',
      '-',
      '--format',
      'ndjson',
      '--url',
      service.url,
      '--json',
      '--batch',
      '10',
      '--in-flight',
      '3',
    ];
    const { out } = await runCli(args, { stdin: events(205).join('\n') });
    expect(JSON.parse(out)).toMatchObject({ accepted: 205 });
    expect(Math.max(...sizes)).toBe(10);
    expect(sizes).toHaveLength(21);
    expect(service.inFlightMax()).toBeLessThanOrEqual(3);
    expect(service.stored.size).toBe(205);
    expect([...service.userAgents]).toEqual(['weir-cli']);
  });

  test('Ctrl-C: what was confirmed is told, the rest is unconfirmed, exit code 130', async () => {
    const reached = Promise.withResolvers<void>();
    const release = Promise.withResolvers<void>();
    using service = startFakeService({
      fault: async (_batch, attempt) => {
        if (attempt < 3) return undefined;
        reached.resolve();
        await release.promise;
        return undefined;
      },
    });
    const child = spawnCli(
      ['import', '-', '--format', 'ndjson', '--url', service.url, '--json', '--batch', '10', '--in-flight', '1'],
      { stdin: events(1000).join('\n') },
    );
    await reached.promise;
    child.kill('SIGINT');
    release.resolve();
    const [out, err] = await Promise.all([child.stdout.text(), child.stderr.text()]);
    expect(await child.exited).toBe(130);
    const summary = JSON.parse(out);
    expect(summary.outcome).toBe('interrupted');
    expect(summary.accepted).toBe(service.stored.size);
    expect(summary.accepted).toBeGreaterThanOrEqual(30);
    expect(summary.read).toBe(summary.accepted + summary.unconfirmed);
    expect(summary.read).toBeLessThan(1000);
    expect(err).toContain('Interrupted.');
  });

  test('Ctrl-C ends an import whose standard input says nothing more', async () => {
    using service = startFakeService();
    const child = Bun.spawn(
      [
        process.execPath,
        join(import.meta.dir, '../src/main.ts'),
        'import',
        '-',
        '--format',
        'ndjson',
        '--url',
        service.url,
        '--batch',
        '1',
      ],
      { stdin: 'pipe', stdout: 'pipe', stderr: 'pipe' },
    );
    child.stdin.write(`${events(1)[0]}\n`);
    await child.stdin.flush();
    while (service.stored.size === 0) await Bun.sleep(5);
    child.kill('SIGINT');
    expect(await child.exited).toBe(130);
    expect(await child.stdout.text()).toMatch(/accepted\s+1\n/);
  });
});
