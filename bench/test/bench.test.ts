/** The whole bench as a process, against the real service: a short run, and one that is interrupted. */
import { afterEach, beforeEach, expect, test } from 'bun:test';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Results } from '../src/bench.ts';
import type { LoadsData } from '../src/loads-part.ts';

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

const SHORT = '--rounds 1 --seconds 0.5 --warmup 0.2 --rate 200 --connections 4'.split(' ');

async function finished(
  bench: ReturnType<typeof startBench>,
): Promise<{ out: string; code: number; results: Results }> {
  const [out, err, code] = await Promise.all([bench.stdout.text(), bench.stderr.text(), bench.exited]);
  expect(err).toBe('');
  const results = JSON.parse(readFileSync(join(folder, 'results.json'), 'utf8')) as Results;
  expect(code).toBe(Object.values(results.parts).some(({ problems }) => problems.length > 0) ? 1 : 0);
  return { out, code, results };
}

const loadsOf = (results: Results, part: string) => results.parts[part]?.data as LoadsData;

/** A machine that is busy with other tests may make the service refuse: that is shown, and is no fault of the bench. */
function expectRightAnswers(results: Results): void {
  const wrong = Object.values(results.parts).flatMap(({ problems }) =>
    problems.filter((one) => /instead of|It failed|× frame /.test(one)),
  );
  expect(wrong).toEqual([]);
}

test(
  'a short run gives every figure, and leaves nothing behind',
  async () => {
    const { out, results } = await finished(startBench(...SHORT, '--seconds', '2', '--only', 'single'));
    expect(out).toContain('Divided by the bare server');
    const { summary, ratios, runs } = loadsOf(results, 'single');
    expect(summary.map(({ load, server }) => `${load} ${server}`)).toEqual(
      ['single', 'open', 'open-fast'].flatMap((load) => [`${load} weir`, `${load} bare`]),
    );
    for (const one of summary) expect(one.eventsPerSecond.median).toBeGreaterThan(0);
    expect(ratios.map(({ load }) => load)).toEqual(['single', 'open', 'open-fast']);
    const weir = runs.find(({ server }) => server === 'weir');
    expect(Object.keys(weir?.memory ?? {}).toSorted()).toEqual(['accept', 'deliver', 'supervisor']);
    expect(weir?.drain?.secondsUntilStored).toBeNumber();
    expect(results.conditions.disk.fdatasyncP50Ms).toBeGreaterThan(0);
    expect(readdirSync(folder)).toEqual(['results.json']);
    expect(survivors()).toEqual([]);
  },
  TIMEOUT_MS,
);

test(
  'every kind of load is answered exactly as it should be by Weir and by the bare server',
  async () => {
    const parts = ['ndjson', 'ws', 'duplicates', 'invalid', 'compressed', 'sizes'];
    const { results } = await finished(startBench(...SHORT, '--only', parts.join(',')));
    expect(Object.keys(results.parts)).toEqual(parts);
    expectRightAnswers(results);
    for (const part of parts) {
      const { summary, runs } = loadsOf(results, part);
      for (const { load, server, result } of runs) {
        const isAnswered = result.eventsSent > 0 && result.unanswered === 0;
        expect([load, server, isAnswered]).toEqual([load, server, true]);
      }
      for (const { server, ownMicros } of summary) expect(ownMicros === undefined).toBe(server === 'bare');
    }
    const frames = loadsOf(results, 'ws').runs.find(({ load }) => load === 'ws-array');
    expect((frames?.result.events ?? Number.NaN) % 100).toBe(0);
  },
  6 * TIMEOUT_MS,
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
