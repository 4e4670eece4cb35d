/** The whole way with the real service: start, import, query, import again, doctor, stop. */
import { expect, test } from 'bun:test';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '@libs/services';
import { MAIN, REES46, runCli, SHOP_CSV, spawnCli } from './run-cli.ts';

const SHOP_ROWS = 20;
const VIEWS = 13;
const TEST_TIMEOUT_MS = 180_000;
const WAIT_MS_MAX = 60_000;

interface Running {
  readonly url: string;
  readonly dataDir: string;
  stop(): Promise<number>;
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + WAIT_MS_MAX;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`not within ${WAIT_MS_MAX} ms: ${condition}`);
    await Bun.sleep(50);
  }
}

async function withService(args: readonly string[], work: (running: Running) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'weir-e2e-'));
  const dataDir = join(folder, 'data');
  const port = await freePort();
  const environment = { PORT: String(port), WEIR_DATA_DIR: dataDir, LOG_LEVEL: 'fatal' };
  const child = spawnCli(['start', ...args], { environment });
  const url = `http://127.0.0.1:${port}`;
  const stop = async () => {
    child.kill('SIGTERM');
    return await child.exited;
  };
  try {
    await until(async () => {
      if (child.exitCode !== null) throw new Error(`the service ended: ${await child.stderr.text()}`);
      return await fetch(`${url}/health/ready`).then(
        ({ ok }) => ok,
        () => false,
      );
    });
    await work({ url, dataDir, stop });
  } finally {
    await stop();
    await rm(folder, { recursive: true });
  }
}

const importShop = (url: string) =>
  runCli(['import', SHOP_CSV, '--mapping', join(REES46, 'mapping.json'), '--url', url, '--json']);

async function countStored(url: string): Promise<number> {
  const { exitCode, out } = await runCli(['query', 'SELECT count() FROM raw_events', '--format', 'TSV', '--url', url]);
  return exitCode === 0 ? Number(out) : -1;
}

test(
  'every row is stored once, with its type registered',
  () =>
    withService(['--config', join(REES46, 'weir.json')], async ({ url, dataDir, stop }) => {
      const first = await importShop(url);
      expect(first.exitCode).toBe(0);
      expect(JSON.parse(first.out)).toMatchObject({ read: SHOP_ROWS, accepted: SHOP_ROWS, rejected: 0 });
      const again = await importShop(url);
      expect(JSON.parse(again.out)).toMatchObject({ read: SHOP_ROWS, accepted: 0, duplicates: SHOP_ROWS });
      await until(async () => (await countStored(url)) >= SHOP_ROWS);
      const types = await runCli([
        ...['query', 'SELECT eventType, count() FROM raw_events GROUP BY eventType ORDER BY eventType'],
        ...['--format', 'TSV', '--url', url],
      ]);
      expect(types.out).toBe(`item_added\t4\nitem_removed\t1\nproduct_viewed\t${VIEWS}\npurchase_completed\t2\n`);
      const table = await runCli([
        'query',
        'SELECT count() AS n FROM events WHERE storeId = {s:String}',
        '--param',
        's=rees46',
        '--url',
        url,
      ]);
      expect(table.out).toBe(['     n', 'UInt64', '──────', `    ${SHOP_ROWS}`, '(1 row)', ''].join('\n'));
      const refused = await runCli(['query', 'DROP TABLE raw_events', '--url', url]);
      expect(refused.exitCode).toBe(1);
      expect(await countStored(url)).toBe(SHOP_ROWS);
      const doctor = await runCli(['doctor', '--json', '--data-dir', dataDir, '--url', url]);
      const journal = JSON.parse(doctor.out).findings.filter(({ area }: { area: string }) => area === 'journal');
      expect(journal).toMatchObject([{ state: 'info', message: expect.stringContaining('in use') }]);
      expect(await stop()).toBe(0);
      const after = await runCli(['doctor', '--json', '--data-dir', dataDir, '--url', url]);
      const sound = JSON.parse(after.out).findings.filter(({ area }: { area: string }) => area === 'journal');
      expect(sound).toMatchObject([{ state: 'ok', message: expect.stringContaining(`${SHOP_ROWS} events`) }]);
    }),
  TEST_TIMEOUT_MS,
);

test(
  'without the registration the views are rejected by name, and everything else is stored',
  () =>
    withService([], async ({ url }) => {
      const { exitCode, out } = await importShop(url);
      expect(exitCode).toBe(1);
      expect(JSON.parse(out)).toMatchObject({
        accepted: SHOP_ROWS - VIEWS,
        rejected: VIEWS,
        reasons: [{ code: 'unknown_event_type', field: 'eventType', count: VIEWS }],
      });
      expect(JSON.parse(out).reasons[0].message).toContain('product_viewed');
      await until(async () => (await countStored(url)) >= SHOP_ROWS - VIEWS);
      expect(await countStored(url)).toBe(SHOP_ROWS - VIEWS);
    }),
  TEST_TIMEOUT_MS,
);

test('a wrong setting ends start with the code and the words of the service', async () => {
  const child = Bun.spawn([process.execPath, MAIN, 'start'], {
    env: { PATH: process.env['PATH'] ?? '', PORT: 'many' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const [out, err] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  expect(await child.exited).not.toBe(0);
  expect(out + err).toContain('PORT');
  const doctor = await runCli(['doctor', '--json', '--url', 'http://127.0.0.1:1'], { environment: { PORT: 'many' } });
  expect(doctor.exitCode).toBe(1);
  expect(JSON.parse(doctor.out).findings[0]).toMatchObject({
    area: 'settings',
    state: 'failure',
    message: expect.stringContaining('PORT'),
  });
});
