/** `main.ts check-config` as people and `weir doctor` run it. */
import { expect, test } from 'bun:test';
import { join } from 'node:path';

const ENTRY = join(import.meta.dir, '../src/main.ts');

function check(env: Record<string, string>, ...args: string[]): { text: string; settings: Record<string, unknown> } {
  const { stdout } = Bun.spawnSync([process.execPath, ENTRY, 'check-config', ...args], { env });
  const text = stdout.toString();
  return { text, settings: (JSON.parse(text) as { settings: Record<string, unknown> }).settings };
}

test('nothing that is printed shows a password, whatever characters it has', () => {
  const { text, settings } = check({
    REDIS_URL: 'redis://weir:hush,hush@hush:hush@cache:1/2',
    CLICKHOUSE_URL: 'http://a:hush@one:8123, http://b:hush@hush@two:8123/x@y',
    CLICKHOUSE_PASSWORD: 'hush',
    KAFKA_SASL_PASSWORD: 'hush',
    JWT_SECRET: 'hush'.repeat(10),
  });
  expect(text).not.toContain('hush');
  expect(settings).toMatchObject({
    REDIS_URL: 'redis://weir:(hidden)@cache:1/2',
    CLICKHOUSE_URL: 'http://a:(hidden)@one:8123,http://b:(hidden)@two:8123/x@y',
    CLICKHOUSE_PASSWORD: '(hidden)',
    JWT_SECRET: '(hidden)',
  });
  expect(check({ REDIS_URL: 'redis://cache' }).settings['REDIS_URL']).toBe('redis://cache');
});
