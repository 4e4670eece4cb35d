import { describe, expect, test } from 'bun:test';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { available, installServices, lacks, type Needs, SERVICE_NAMES } from '../src/index.ts';

const LACKING = join(import.meta.dir, 'fixtures', 'lacking.ts');
const everything = SERVICE_NAMES.every((name) => available(name).ok);

describe.skipIf(lacks({ start: SERVICE_NAMES }))('where everything is there', () => {
  test('nothing is installed, and nothing is said', async () => {
    const lines: string[] = [];
    expect(await installServices((line) => lines.push(line))).toEqual([]);
    expect(lines).toEqual([]);
  });
});

test('what is lacking is said with the command that gets it, and a named server will do for who only uses one', () => {
  const child = (needs: Needs, env: Record<string, string> = {}) => {
    const folder = mkdtempSync(join(tmpdir(), 'weir-empty-path-'));
    try {
      const { stdout, stderr } = Bun.spawnSync([process.execPath, LACKING, JSON.stringify(needs)], {
        env: { PATH: folder, XDG_CACHE_HOME: folder, ...env },
      });
      return { lacking: stdout.toString(), said: stderr.toString() };
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  };
  const install = 'to run these tests: npm run services -- install\n';
  expect(child({ start: ['kcat'] })).toEqual({ lacking: 'true', said: `skipped: no kcat here; ${install}` });
  expect(child({ use: ['redis', 'kafka'] })).toEqual({
    lacking: 'true',
    said: `skipped: no redis here; ${install}skipped: no kafka here; ${install}`,
  });
  const named = { WEIR_TEST_REDIS_URL: 'redis://redis.example', WEIR_TEST_KAFKA_BROKERS: 'kafka.example:9092' };
  expect(child({ use: ['redis', 'kafka'] }, named)).toEqual({ lacking: 'false', said: '' });
  expect(child({ start: ['redis'] }, named).said).toContain('the named one may not be stopped');
});

test('what can be had can be named', () => {
  expect(lacks({ start: SERVICE_NAMES })).toBe(!everything);
});
