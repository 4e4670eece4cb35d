import { afterAll, expect, test } from 'bun:test';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadConfig } from './config.ts';

const folder = mkdtempSync(join(tmpdir(), 'weir-config-'));
afterAll(() => rmSync(folder, { recursive: true }));

function file(name: string, value: unknown): string {
  const path = join(folder, name);
  writeFileSync(path, typeof value === 'string' ? value : JSON.stringify(value));
  return path;
}

function load(env: Record<string, string>, config?: unknown) {
  const args = config === undefined ? [] : ['--config', file('weir.json', config)];
  const loaded = loadConfig(args, env);
  if (!loaded.ok) throw new Error(loaded.problems.join('\n'));
  return loaded.config;
}

function problems(env: Record<string, string>, config?: unknown): readonly string[] {
  const args = config === undefined ? [] : ['--config', file('weir.json', config)];
  const loaded = loadConfig(args, env);
  return loaded.ok ? [] : loaded.problems;
}

test('nothing set: everything embedded, every built-in type has its topic, and no other server is named', () => {
  const config = load({});
  expect(config).toMatchObject({ PORT: 3001, WEIR_WORKERS: 1, kafkaBrokers: [], downstreams: {}, eventTypes: {} });
  expect(config.routes['cart_abandoned']).toEqual({ topic: 'cart.abandoned', key: 'sessionId' });
  expect(Object.keys(config.routes)).toHaveLength(6);
  expect([config.REDIS_URL, config.CLICKHOUSE_URL, config.JWT_SECRET, config.kafkaTls]).toEqual(
    Array(4).fill(undefined),
  );
});

test('blank means absent', () => {
  expect(load({ PORT: ' ', REDIS_URL: '', KAFKA_BROKERS: '  ' })).toMatchObject({ PORT: 3001, kafkaBrokers: [] });
});

test('every problem is reported at once, by name, and no secret is shown', () => {
  expect(problems({ PORT: 'http', LOG_LEVEL: 'loud' }).map((problem) => problem.split('=')[0])).toEqual([
    'PORT',
    'LOG_LEVEL',
  ]);
  const together = problems({
    WEIR_WORKERS: '2',
    KAFKA_BROKERS: 'a:9092, b',
    KAFKA_SASL_MECHANISM: 'plain',
    KAFKA_TLS_CERT: '/nowhere/cert.pem',
    CLICKHOUSE_CLUSTER: 'main',
    JWT_SECRET: 'too short to be one',
  });
  const text = together.join('\n');
  for (const name of [
    'WEIR_WORKERS',
    'KAFKA_BROKERS',
    'KAFKA_SASL_MECHANISM',
    'KAFKA_TLS_CERT',
    'CLICKHOUSE_CLUSTER',
    'JWT_SECRET',
  ])
    expect(text).toContain(name);
  expect(text).not.toContain('too short to be one');
  expect(problems({ REDIS_URL: 'http://user:hush@redis' }).join()).not.toContain('hush');
  expect(problems({ CLICKHOUSE_URL: 'ftp://user:hush@clickhouse' }).join()).not.toContain('hush');
});

test('a Redis URL that no connection could be made from is refused at the start', () => {
  for (const url of ['redis://cache/shop', 'redis://cache?db=1', 'redis://u:hush%zz@cache', 'redis:///3']) {
    const found = problems({ REDIS_URL: url });
    expect(found).toHaveLength(1);
    expect(found[0]).toStartWith('REDIS_URL');
    expect(found[0]).not.toContain('hush');
  }
  expect(load({ REDIS_URL: 'rediss://:hush@cache:7000/3' }).REDIS_URL).toBe('rediss://:hush@cache:7000/3');
});

test('a certificate is read once, at the start', () => {
  const ca = file('ca.pem', 'PEM');
  expect(load({ KAFKA_BROKERS: 'a:1', KAFKA_TLS: 'on', KAFKA_TLS_CA: ca }).kafkaTls).toEqual({ ca: 'PEM' });
  expect(load({ KAFKA_BROKERS: 'a:1', KAFKA_TLS: 'on' }).kafkaTls).toEqual({});
  expect(problems({ KAFKA_TLS: 'on', KAFKA_TLS_CA: '/nowhere' }).join()).toContain(
    'KAFKA_TLS_CA: /nowhere cannot be read',
  );
});

test('a registered type has a topic of its own, which the file may change or switch off', () => {
  const eventTypes = { product_viewed: {} };
  expect(load({}, { eventTypes }).routes['product_viewed']?.topic).toBe('events.product_viewed');
  const routes = { product_viewed: { topic: 'views' }, item_added: { topic: null } };
  const config = load({}, { eventTypes, routes });
  expect(config.routes['product_viewed']?.topic).toBe('views');
  expect(config.routes['item_added']).toBeUndefined();
  expect(problems({}, { routes: { product_viewed: { topic: 'views' } } }).join()).toContain('routes.product_viewed');
});

test('a downstream comes from its variable, from the file, or from both', () => {
  expect(load({ PREDICTION_URL: 'http://predict:8080' }).downstreams['prediction']).toMatchObject({
    url: 'http://predict:8080/api/predict/analyze',
    eventTypes: ['cart_abandoned'],
    required: true,
  });
  const config = load(
    { ANALYTICS_URL: 'http://analytics/events' },
    { downstreams: { analytics: { timeoutMs: 500 }, crm: { url: 'http://crm/', eventTypes: ['purchase_completed'] } } },
  );
  expect(config.downstreams['analytics']).toMatchObject({ url: 'http://analytics/events', timeoutMs: 500 });
  expect(config.downstreams['crm']?.eventTypes).toEqual(['purchase_completed']);
  const found = problems({}, { downstreams: { crm: { url: 'http://crm/', eventTypes: ['nobody'], retires: 1 } } });
  expect(found.join()).toContain('downstreams.crm');
});

test('unknown keys of the file, a file that is no JSON, and unknown arguments are errors', () => {
  expect(problems({}, { eventTypez: {} }).join()).toContain('eventTypez');
  expect(problems({}, '{').join()).toContain('cannot be read as JSON');
  const loaded = loadConfig(['--port', '1'], {});
  expect(loaded.ok ? '' : loaded.problems.join()).toContain('--port: unknown argument');
});
