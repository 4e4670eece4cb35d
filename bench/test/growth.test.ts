/** The growth part as a process, with windows and backlogs that are small: every figure is there, and adds up. */
import { afterEach, beforeEach, expect, test } from 'bun:test';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Results } from '../src/bench.ts';
import type { BacklogGrowth } from '../src/growth-backlog.ts';
import type { WindowGrowth } from '../src/growth-window.ts';

const MAIN = join(import.meta.dir, '../src/main.ts');
const TIMEOUT_MS = 600_000;
const IDS = 150_000;
const BACKLOG = 50_000;
let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'weir-growth-test-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

test(
  'a window and a backlog are filled, survive their starts, and everything is stored once',
  async () => {
    const file = join(folder, 'results.json');
    const sizes = ['--ids', String(IDS), '--backlog', String(BACKLOG)];
    const short = ['--rounds', '1', '--seconds', '2', '--warmup', '0.1', '--connections', '4'];
    const argv = [
      process.execPath,
      MAIN,
      '--only',
      'window,backlog',
      ...sizes,
      ...short,
      '--folder',
      folder,
      '--json',
      file,
    ];
    const bench = Bun.spawn(argv, { stdio: ['ignore', 'pipe', 'pipe'] });
    const [out, err, code] = await Promise.all([bench.stdout.text(), bench.stderr.text(), bench.exited]);
    expect(err).toBe('');
    expect(out).toContain('undelivered events');
    expect(code).toBe(0);

    const { parts } = JSON.parse(readFileSync(file, 'utf8')) as Results;
    expect(parts['window']?.problems).toEqual([]);
    expect(parts['backlog']?.problems).toEqual([]);
    const [window, backlog] = [parts['window']?.data as WindowGrowth, parts['backlog']?.data as BacklogGrowth];
    expect(window.ids.grown).toBeGreaterThanOrEqual(IDS);
    expect(window.ids.plain).toBe(0);
    expect(window.idsAfterStart).toBeGreaterThanOrEqual(window.ids.grown);
    expect(window.firstEventAgain).toBe(200);
    expect(window.starts.grown.length).toBe(3);
    expect(backlog.pendingEvents.grown).toBeGreaterThanOrEqual(BACKLOG);
    expect(backlog.pendingEvents.plain).toBe(0);
    expect(backlog.journalBytes).toBeGreaterThan(300 * BACKLOG);
    expect(backlog.acknowledged).toBeGreaterThan(backlog.pendingEvents.grown);
    expect(backlog.stored).toBe(backlog.acknowledged);
    expect(backlog.storedDifferent).toBe(backlog.acknowledged);
    for (const { load, rate, acceptCpu } of [...window.ratios, ...backlog.ratios]) {
      expect(['batch', 'single']).toContain(load);
      expect(rate.median).toBeGreaterThan(0);
      expect(acceptCpu.median).toBeGreaterThan(0);
    }
    expect(readdirSync(folder)).toEqual(['results.json']);
  },
  TIMEOUT_MS,
);
