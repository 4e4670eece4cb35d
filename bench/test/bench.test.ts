/** The whole bench as a process, against the real service: a short run, and one that is interrupted. */
import { afterEach, beforeEach, expect, test } from 'bun:test';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Results } from '../src/bench.ts';

const MAIN = join(import.meta.dir, '../src/main.ts');
const TIMEOUT_MS = 90_000;
let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'weir-bench-test-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function startBench(...args: string[]) {
  const argv = [process.execPath, MAIN, '--folder', folder, '--json', join(folder, 'results.json'), ...args];
  return Bun.spawn(argv, { stdio: ['ignore', 'pipe', 'pipe'] });
}

/** Pids of the processes that were started with this test's folder in their environment. */
function survivors(): number[] {
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => {
      if (!(pid > 0) || pid === process.pid) return false;
      try {
        return readFileSync(`/proc/${pid}/environ`, 'utf8').includes(folder);
      } catch (error) {
        // It ended meanwhile.
        if (!['ENOENT', 'ESRCH', 'EACCES'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
        return false;
      }
    });
}

test(
  'a short run gives every figure, and leaves nothing behind',
  async () => {
    const bench = startBench(
      '--rounds',
      '1',
      '--seconds',
      '0.5',
      '--warmup',
      '0.2',
      '--rate',
      '200',
      '--connections',
      '4',
      '--only',
      'single',
    );
    const [out, err, code] = await Promise.all([bench.stdout.text(), bench.stderr.text(), bench.exited]);
    expect(err).toBe('');
    expect(out).toContain('Weir divided by the bare server');
    const results = JSON.parse(readFileSync(join(folder, 'results.json'), 'utf8')) as Results;
    // A machine that is busy with other tests may make the service refuse: that is shown, and is no fault of the bench.
    const hasErrors = (results.summary ?? []).some(({ errors }) => Object.keys(errors).length > 0);
    expect(code).toBe(hasErrors ? 1 : 0);
    expect(results.summary?.map(({ load, server }) => `${load} ${server}`)).toEqual([
      'single weir',
      'single bare',
      'open weir',
      'open bare',
    ]);
    for (const { eventsPerSecond, p50Ms } of results.summary ?? []) {
      expect(eventsPerSecond.median).toBeGreaterThan(0);
      expect(p50Ms).toBeGreaterThan(0);
    }
    expect(results.ratios?.map(({ load }) => load)).toEqual(['single', 'open']);
    const weir = results.runs?.find(({ server }) => server === 'weir');
    expect(Object.keys(weir?.memory ?? {}).toSorted()).toEqual(['accept', 'deliver', 'supervisor']);
    expect(weir?.drain?.secondsUntilStored).toBeNumber();
    expect(results.conditions.disk.fdatasyncP50Ms).toBeGreaterThan(0);
    expect(readdirSync(folder)).toEqual(['results.json']);
    expect(survivors()).toEqual([]);
  },
  TIMEOUT_MS,
);

test(
  'Ctrl-C ends the service in order and removes its folder',
  async () => {
    const bench = startBench('--rounds', '50', '--only', 'single');
    const isUp = () => readdirSync(folder).some((name) => existsSync(join(folder, name, 'run', 'processes.json')));
    while (!isUp() && bench.exitCode === null) await Bun.sleep(20);
    expect(survivors().length).toBeGreaterThan(0);
    bench.kill('SIGINT');
    expect(await bench.exited).toBe(130);
    expect(readdirSync(folder)).toEqual([]);
    expect(survivors()).toEqual([]);
  },
  TIMEOUT_MS,
);

test('a wrong option ends with a sentence and a code of its own', async () => {
  const bench = startBench('--rounds', 'many');
  expect(await bench.exited).toBe(64);
  expect(await bench.stderr.text()).toContain('--rounds many: must be a number from 1 to 100.');
});
