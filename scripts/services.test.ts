import { describe, expect, test } from 'bun:test';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { countMessages, lacks } from '../libs/services/src/index.ts';

const SCRIPT = join(import.meta.dir, 'services.ts');
const TEST_MS = 120_000;

/** Resolves with what it printed up to its last line. */
async function untilStarted(child: Bun.Subprocess<'ignore', 'pipe', 'inherit'>): Promise<string> {
  const decoder = new TextDecoder();
  let text = '';
  for await (const chunk of child.stdout) {
    text += decoder.decode(chunk, { stream: true });
    if (text.includes('Ctrl-C ends them.')) return text;
  }
  throw new Error(`It ended: ${text}`);
}

describe.skipIf(lacks({ start: ['redis', 'kafka', 'kcat'] }))('npm run services', () => {
  test(
    'prints settings that work, ends everything on Ctrl-C, and keeps the data of a given folder',
    async () => {
      const folder = mkdtempSync(join(tmpdir(), 'weir-services-script-'));
      try {
        const child = Bun.spawn([process.execPath, SCRIPT, '--folder', folder], {
          stdio: ['ignore', 'pipe', 'inherit'],
        });
        const text = await untilStarted(child);
        const [, brokers = ''] = /^KAFKA_BROKERS=(\S+)$/m.exec(text) ?? [];
        expect(text).toMatch(/^REDIS_URL=redis:\/\/127\.0\.0\.1:\d+$/m);
        await expect(countMessages({ brokers, topic: 'none' })).rejects.toThrow('Unknown topic');
        const [, url = ''] = /^CLICKHOUSE_URL=(\S+)$/m.exec(text) ?? [];
        expect(await (await fetch(url, { method: 'POST', body: 'SELECT 1 + 1' })).text()).toBe('2\n');
        child.kill('SIGINT');
        expect(await child.exited).toBe(0);
        expect(existsSync(join(folder, 'kafka', 'data', 'meta.properties'))).toBe(true);
        await expect(countMessages({ brokers, topic: 'none' })).rejects.toThrow('refused');
      } finally {
        rmSync(folder, { recursive: true, force: true });
      }
    },
    TEST_MS,
  );
});

test('what it does not understand is answered with the usage', () => {
  const { exitCode, stdout } = Bun.spawnSync([process.execPath, SCRIPT, 'rabbitmq']);
  expect(exitCode).toBe(2);
  expect(stdout.toString()).toContain('npm run services -- install');
  expect(Bun.spawnSync([process.execPath, SCRIPT, '--kafka-port', '0']).exitCode).toBe(2);
});
