/**
 * Holds deploy/, Dockerfile and docker-compose.yml against the code: no Docker engine is needed, so what only one can show (that the
 * images are there and start) is not tested here.
 */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { ENVIRONMENT } from '../apps/ingestion/src/environment.ts';
import { lacks, type Redis, startRedis } from '../libs/services/src/index.ts';

const root = join(import.meta.dir, '..');
const TEST_MS = 60_000;
const readText = (path: string): string => readFileSync(join(root, path), 'utf8');

interface Compose {
  readonly services: Readonly<Record<string, Service>>;
  readonly volumes: Readonly<Record<string, unknown>>;
}

interface Service {
  readonly image?: string;
  readonly build?: unknown;
  readonly volumes?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly ports?: readonly string[];
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>;
  readonly healthcheck?: unknown;
  readonly stop_grace_period?: string;
}

const files = ['docker-compose.yml', 'deploy/alone.yml'].map((path) => ({
  path,
  compose: Bun.YAML.parse(readText(path)) as Compose,
}));
const services = files.flatMap(({ path, compose }) =>
  Object.entries(compose.services).map(([name, service]) => ({ path, name, service })),
);
const [whole] = files.map(({ compose }) => compose);

describe('compose files', () => {
  test('images are pinned to a full version', () => {
    const loose = services.filter(
      ({ service }) => service.build === undefined && !/:v?\d+\.\d+\.\d+/.test(service.image ?? ''),
    );
    expect(loose.map(({ name }) => name)).toEqual([]);
  });

  test('what is mounted exists, and every volume is declared and used by one service only', () => {
    for (const { path, compose } of files) {
      const sources = Object.values(compose.services).flatMap(({ volumes = [] }) =>
        volumes.map((volume) => volume.split(':')[0] ?? ''),
      );
      const mounted = sources.filter((source) => source.startsWith('.'));
      expect(mounted.filter((source) => !existsSync(join(root, dirname(path), source)))).toEqual([]);
      const named = sources.filter((source) => !source.startsWith('.'));
      expect(named.toSorted()).toEqual(Object.keys(compose.volumes).toSorted());
    }
  });

  test('everything is published on this machine only', () => {
    const ports = services.flatMap(({ service }) => service.ports ?? []);
    expect(ports.length).toBeGreaterThan(4);
    expect(ports.filter((port) => !port.startsWith('127.0.0.1:'))).toEqual([]);
  });

  test('who is waited for has a health check', () => {
    const waited = services.flatMap(({ service }) =>
      Object.entries(service.depends_on ?? {}).filter(([, { condition }]) => condition === 'service_healthy'),
    );
    expect(waited.length).toBeGreaterThan(0);
    expect(waited.filter(([name]) => whole?.services[name]?.healthcheck === undefined)).toEqual([]);
  });

  test('the settings of Weir are settings of Weir, and leave it the time to end', () => {
    const weirs = services.filter(({ service }) => service.build !== undefined);
    expect(weirs.map(({ name }) => name)).toEqual(['weir-1', 'weir-2', 'weir']);
    const known = Object.keys(ENVIRONMENT.shape);
    for (const { service } of weirs) {
      expect(Object.keys(service.environment ?? {}).filter((name) => !known.includes(name))).toEqual([]);
      const stepMs = ENVIRONMENT.shape.SHUTDOWN_TIMEOUT_MS.parse(undefined);
      expect(Number.parseInt(service.stop_grace_period ?? '', 10) * 1_000).toBeGreaterThan(2 * stepMs);
    }
  });

  test('Kafka’s cluster id is 16 bytes in base64url', () => {
    const id = whole?.services['kafka']?.environment?.['CLUSTER_ID'] ?? '';
    expect(Buffer.from(id, 'base64url').length).toBe(16);
    expect(Buffer.from(id, 'base64url').toString('base64url')).toBe(id);
  });
});

test('the balancer and Prometheus know the instances', () => {
  const instances = Object.keys(whole?.services ?? {}).filter((name) => name.startsWith('weir'));
  const servers = [...readText('deploy/haproxy/haproxy.cfg').matchAll(/^ {2}server (\S+) (\S+):3001$/gm)];
  expect(servers.map(([, name, host]) => [name, host])).toEqual(instances.map((name) => [name, name]));
  const { scrape_configs: jobs, rule_files: rules } = Bun.YAML.parse(readText('deploy/prometheus/prometheus.yml')) as {
    scrape_configs: { job_name: string; static_configs: { targets: string[] }[] }[];
    rule_files: string[];
  };
  const targets = jobs.find(({ job_name }) => job_name === 'weir')?.static_configs.flatMap((one) => one.targets);
  expect(targets).toEqual(instances.map((name) => `${name}:3001`));
  expect(rules.filter((name) => !existsSync(join(root, 'deploy/prometheus', name)))).toEqual([]);
});

test('the image has the Bun that package.json names, runs as nobody special, and says how it is', () => {
  const dockerfile = readText('Dockerfile');
  const [, pattern = ''] = /sed -n 's\/(.*?)\/\\1\/p' package\.json/.exec(dockerfile) ?? [];
  const { devDependencies } = JSON.parse(readText('package.json')) as { devDependencies: Record<string, string> };
  const [, version] =
    new RegExp(pattern.replaceAll('\\(', '(').replaceAll('\\)', ')')).exec(readText('package.json')) ?? [];
  expect(version).toBe(devDependencies['bun'] ?? '');
  expect([...dockerfile.matchAll(/^FROM (\S+)/gm)].map(([, image]) => image)).toEqual([
    expect.stringMatching(/^node:\d+\.\d+\.\d+-bookworm-slim$/),
    expect.stringMatching(/^debian:bookworm-\d{8}-slim$/),
  ]);
  expect(dockerfile).toMatch(/^USER weir$/m);
  expect(dockerfile).toMatch(/^HEALTHCHECK .*\/health\/live/m);
  const [, entry = ''] = /"\/weir\/([^"]+\.ts)"\]$/m.exec(dockerfile) ?? [];
  expect(existsSync(join(root, entry))).toBe(true);
});

/** Metrics of programs that are not ours, by the beginning of their names. */
const FOREIGN = /^(haproxy_|up$)/;

function metricsIn(expressions: readonly string[]): string[] {
  const names = expressions.flatMap((text) =>
    [...text.matchAll(/\b(up|(?:weir|process|nodejs|haproxy)_\w+)\b(?=[{[ ]|$)/g)].map(([, name = '']) => name),
  );
  return [...new Set(names)].filter((name) => !FOREIGN.test(name)).toSorted();
}

interface Panel {
  readonly title: string;
  readonly type: string;
  readonly targets?: readonly { readonly expr: string; readonly datasource: { readonly uid: string } }[];
}

describe.skipIf(lacks({ start: ['redis'] }))('dashboard and alerts', () => {
  let folder: string;
  let redis: Redis | undefined;
  let child: Bun.Subprocess<'ignore', 'pipe', 'inherit'> | undefined;
  let exposed: string[] = [];

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'weir-deploy-'));
    redis = await startRedis();
    child = Bun.spawn([process.execPath, join(root, 'apps/ingestion/src/main.ts')], {
      cwd: root,
      stdio: ['ignore', 'pipe', 'inherit'],
      env: {
        ...{ PATH: process.env['PATH'], PORT: '0', HOST: '127.0.0.1', LOG_LEVEL: 'error' },
        ...{ WEIR_DATA_DIR: join(folder, 'data'), REDIS_URL: redis.url, DISK_RESERVE_BYTES: '0' },
      },
    });
    const url = await addressOf(child.stdout);
    const reply = await fetch(`${url}/metrics`, { headers: { accept: 'text/plain' } });
    exposed = [...(await reply.text()).matchAll(/^# TYPE (\w+) /gm)].map(([, name = '']) => name);
  }, TEST_MS);

  afterAll(async () => {
    child?.kill('SIGTERM');
    await child?.exited;
    await redis?.close();
    rmSync(folder, { recursive: true, force: true });
  }, TEST_MS);

  const dashboard = JSON.parse(readText('deploy/grafana/dashboards/weir.json')) as { panels: Panel[]; uid: string };
  const panels = dashboard.panels.filter(({ type }) => type !== 'row');

  test('every panel asks for metrics that a running service has', () => {
    const wanted = metricsIn(panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr)));
    expect(wanted.length).toBeGreaterThan(20);
    expect(wanted.filter((name) => !exposed.includes(name))).toEqual([]);
  });

  test('every panel has a title of its own and the provisioned data source', () => {
    const source = Bun.YAML.parse(readText('deploy/grafana/provisioning/datasources/prometheus.yml')) as {
      datasources: { uid: string }[];
    };
    expect(new Set(panels.map(({ title }) => title)).size).toBe(panels.length);
    const uids = new Set(panels.flatMap(({ targets = [] }) => targets.map(({ datasource }) => datasource.uid)));
    expect([...uids]).toEqual(source.datasources.map(({ uid }) => uid));
  });

  test('every alert asks for metrics that a running service has', () => {
    const { groups } = Bun.YAML.parse(readText('deploy/prometheus/alerts.yml')) as {
      groups: { rules: { alert: string; expr: string }[] }[];
    };
    const wanted = metricsIn(groups.flatMap(({ rules }) => rules.map(({ expr }) => expr)));
    expect(wanted.length).toBeGreaterThan(4);
    expect(wanted.filter((name) => !exposed.includes(name))).toEqual([]);
  });
});

async function addressOf(stdout: ReadableStream<Uint8Array>): Promise<string> {
  const decoder = new TextDecoder();
  let text = '';
  for await (const chunk of stdout) {
    text += decoder.decode(chunk, { stream: true });
    const [, url] = /Weir is listening on (http:\S+)/.exec(text) ?? [];
    if (url !== undefined) return url.replace(/\/$/, '');
  }
  throw new Error(`The service did not start: ${text}`);
}
