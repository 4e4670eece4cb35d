import { expect, test } from 'bun:test';
import { welcomeText } from './welcome.ts';

const EMBEDDED = {
  HOST: '0.0.0.0',
  dataFolder: '/data',
  JWT_SECRET: undefined,
  CLICKHOUSE_URL: undefined,
  REDIS_URL: undefined,
  kafkaBrokers: [],
  downstreams: {},
};

test('alone, everything is embedded, and the address is one to click', () => {
  const text = welcomeText(EMBEDDED, 3001);
  expect(text).toContain('http://127.0.0.1:3001/swagger');
  expect(text).toContain('Embedded  ClickHouse engine (chDB), dedupe window, topics');
  expect(text).not.toContain('Uses');
  expect(welcomeText({ ...EMBEDDED, HOST: '::1' }, 1)).toContain('http://[::1]:1/swagger');
});

test('servers are named by host, and no password is shown, whatever characters it has', () => {
  const text = welcomeText(
    {
      ...EMBEDDED,
      REDIS_URL: 'redis://:hush,hush@cache:6380/1',
      CLICKHOUSE_URL: 'http://a:hush@one:8123, https://two:8443',
      kafkaBrokers: ['k1:9092', 'k2:9092'],
    },
    3001,
  );
  expect(text).toContain('Uses      Redis at cache:6380\n');
  expect(text).toContain('Uses      ClickHouse at one:8123, two:8443\n');
  expect(text).toContain('Uses      Kafka at k1:9092, k2:9092\n');
  expect(text).toContain('Embedded  nothing');
  expect(text).not.toContain('hush');
});

test('where a token is needed, the lines to try name one, and the secret is not shown', () => {
  expect(welcomeText(EMBEDDED, 1)).not.toContain('authorization');
  const text = welcomeText({ ...EMBEDDED, JWT_SECRET: 'hush'.repeat(8) }, 1);
  expect(text.match(/authorization: Bearer \$WEIR_TOKEN/g)).toHaveLength(2);
  expect(text).not.toContain('hush');
});
