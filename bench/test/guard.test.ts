/** The guard as a process, against the real service: one short round, beside baselines that are made up. */
import { afterEach, beforeEach, expect, test } from 'bun:test';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Baseline, readBaseline } from '../src/guard-baseline.ts';

const MAIN = join(import.meta.dir, '../src/main.ts');
const TIMEOUT_MS = 120_000;
const LOADS = ['single', 'batch', 'ws', 'ws-stream'];
let folder: string;
let file: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'weir-guard-test-'));
  file = join(folder, 'baseline.json');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

async function runGuard(...more: string[]) {
  const short = ['--rounds', '1', '--seconds', '2', '--warmup', '0.1', '--connections', '4', '--ws-in-flight', '4'];
  const files = ['--folder', folder, '--json', join(folder, 'results.json'), '--baseline', file];
  const argv = [process.execPath, MAIN, '--guard', ...short, ...files, ...more];
  const guard = Bun.spawn(argv, { stdio: ['ignore', 'pipe', 'pipe'] });
  const [out, err, code] = await Promise.all([guard.stdout.text(), guard.stderr.text(), guard.exited]);
  return { out, err, code };
}

const complaints = (out: string) => out.split('\n').filter((line) => line.startsWith('! '));

test(
  'a baseline that is made is one that can be read, and a worse service is named with the load and by how much',
  async () => {
    const made = await runGuard('--update');
    expect(made).toMatchObject({ err: '', code: 0 });
    const { conditions, figures }: Baseline = readBaseline(file);
    expect(Object.keys(figures)).toEqual(LOADS);

    // As if the batch had cost a tenth of it, and everything else a thousand times as much.
    const scaled = (load: string, factor: number) => {
      const { accept, deliver } = figures[load] as Baseline['figures'][string];
      const times = (one: typeof accept) => ({ ...one, median: one.median * factor });
      return { accept: times(accept), deliver: times(deliver) };
    };
    const entries = LOADS.map((load) => [load, scaled(load, load === 'batch' ? 0.1 : 1_000)]);
    writeFileSync(file, JSON.stringify({ conditions, figures: Object.fromEntries(entries) }));
    const compared = await runGuard();
    expect(compared.code).toBe(1);
    const [accept, deliver, ...others] = complaints(compared.out);
    expect(accept).toMatch(
      /^! batch, accept: \+\d{2,}\.\d %, \d+\.\d+ → \d+\.\d+ times the bare server's CPU per event/,
    );
    expect(deliver).toMatch(/^! batch, deliver: \+\d{2,}\.\d %/);
    expect(others).toEqual([]);

    // Everything became cheaper: nothing to complain of.
    writeFileSync(
      file,
      JSON.stringify({ conditions, figures: Object.fromEntries(LOADS.map((load) => [load, scaled(load, 1_000)])) }),
    );
    const cheaper = await runGuard();
    expect(complaints(cheaper.out)).toEqual([]);
    expect(cheaper.code).toBe(0);
  },
  TIMEOUT_MS,
);

test('a baseline that is missing or broken is named before anything is measured', async () => {
  const missing = await runGuard();
  expect(missing.code).toBe(1);
  expect(missing.out).toContain('--guard --update');
  expect(missing.out).toContain('ENOENT');
  writeFileSync(file, '{');
  expect((await runGuard()).out).toContain('is no JSON');
  const figure = { median: 1, spread: 0, rounds: 5 };
  const figures = { single: { accept: figure, deliver: { ...figure, median: 'much' } } };
  writeFileSync(file, JSON.stringify({ conditions: { startedAt: 'once' }, figures }));
  expect((await runGuard()).out).toContain('figures.single.deliver.median must be a number above zero.');
});

test('the committed baseline can be read, and was made with enough rounds', () => {
  const committed = join(import.meta.dir, '../baseline.json');
  expect(existsSync(committed)).toBe(true);
  const { figures } = readBaseline(committed);
  expect(Object.keys(figures)).toEqual(LOADS);
  for (const byProcess of Object.values(figures))
    for (const { rounds } of Object.values(byProcess)) expect(rounds).toBeGreaterThanOrEqual(5);
  expect(readFileSync(committed, 'utf8')).not.toContain('null');
});
