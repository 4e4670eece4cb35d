import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test';
import { event, HEALTHY_DELIVER, type HttpService, post, startHttpService } from './http-service.ts';

let service: HttpService;
beforeAll(async () => {
  service = await startHttpService();
});
afterAll(() => service[Symbol.asyncDispose]());
beforeEach(() => {
  service.ingestion.journal = {};
  service.ingestion.deliver = HEALTHY_DELIVER;
  service.ingestion.isDraining = false;
});

async function get(path: string, headers: Record<string, string> = {}) {
  const response = await fetch(`${service.url}${path}`, { headers });
  // biome-ignore lint/suspicious/noExplicitAny: tests assert the shape of what comes back.
  return { status: response.status, headers: response.headers, body: (await response.json()) as any };
}

describe('GET /health', () => {
  test('healthy, with every service, the rates, the window and the version', async () => {
    await post(`${service.url}/events`, JSON.stringify(event()));
    await post(`${service.url}/events`, '{}');
    const { status, body } = await get('/health');
    expect(status).toBe(200);
    expect(body).toEqual({
      status: 'healthy',
      services: {
        journal: {
          state: 'healthy',
          latencyMs: 0.2,
          pendingEvents: 3,
          pendingBytes: 1000,
          limitBytes: 1_000_000,
        },
        deliver: { state: 'healthy', reportAgeMs: 100 },
        clickhouse: { state: 'healthy', latencyMs: 12, pendingEvents: 0 },
      },
      metrics: { eventsPerSecond: expect.any(Number), activeConnections: 0, errorRate: 0.5 },
      dedupe: { ids: 10, windowMs: 3_600_000 },
      timestamp: expect.stringMatching(/Z$/),
      version: '0.0.0',
    });
    expect(body.metrics.eventsPerSecond).toBeGreaterThan(0);
  });

  test('a store that is down, or deliver away, only degrades it', async () => {
    service.ingestion.deliver = {
      ...HEALTHY_DELIVER,
      sinks: [
        {
          name: 'store',
          state: 'unhealthy',
          lastError: 'connection refused',
          rows: 7,
          blocks: 2,
          retries: 9,
          required: true,
          pendingEvents: 0,
          pendingBytes: 0,
          deadLetters: 0,
        },
      ],
    };
    let reply = await get('/health');
    expect([reply.status, reply.body.status]).toEqual([200, 'degraded']);
    expect(reply.body.services.clickhouse).toEqual({
      state: 'unhealthy',
      lastError: 'connection refused',
      pendingEvents: 0,
    });

    service.ingestion.deliver = {
      ...HEALTHY_DELIVER,
      sinks: [
        {
          name: 'store',
          state: 'healthy',
          stopped: 'row 7 is refused',
          rows: 7,
          blocks: 2,
          retries: 9,
          required: true,
          pendingEvents: 0,
          pendingBytes: 0,
          deadLetters: 0,
        },
      ],
    };
    reply = await get('/health');
    expect(reply.body.services.clickhouse).toEqual({
      state: 'unhealthy',
      lastError: 'row 7 is refused',
      pendingEvents: 0,
    });

    service.ingestion.deliver = { ...HEALTHY_DELIVER, sinks: [] };
    expect((await get('/health')).body.services.clickhouse.state).toBe('degraded');

    service.ingestion.deliver = undefined;
    reply = await get('/health');
    expect([reply.status, reply.body.status]).toEqual([200, 'degraded']);
    expect(reply.body.services.deliver).toMatchObject({ state: 'unhealthy', lastError: expect.any(String) });
    expect(reply.body.services.clickhouse.state).toBe('unhealthy');
    expect((await get('/health/ready')).status).toBe(200);
  });

  test.each(['full', 'failed', 'closed'] as const)('a journal that is %s makes it unhealthy', async (state) => {
    service.ingestion.journal = { state, reason: 'no space left', secondsUntilFull: 0 };
    const { status, body } = await get('/health');
    expect(status).toBe(503);
    expect(body).toMatchObject({ status: 'unhealthy', message: 'no space left' });
    expect(body.services.journal).toMatchObject({
      state: 'unhealthy',
      lastError: 'no space left',
      secondsUntilFull: 0,
    });
    const ready = await get('/health/ready');
    expect(ready.status).toBe(503);
    expect(ready.body).toMatchObject({ error: `journal_${state}`, message: 'no space left' });
    expect(Number(ready.headers.get('retry-after'))).toBeGreaterThan(0);
    expect((await get('/health/live')).status).toBe(200);
  });

  test('while draining: alive, but not ready', async () => {
    service.ingestion.isDraining = true;
    expect((await get('/health/ready')).body.error).toBe('shutting_down');
    expect((await get('/health')).status).toBe(503);
    const live = await get('/health/live');
    expect([live.status, live.body.status]).toEqual([200, 'alive']);
  });

  test('ready', async () => {
    const { status, body } = await get('/health/ready');
    expect([status, body.status]).toEqual([200, 'ready']);
  });
});

describe('GET /metrics', () => {
  const TEXT = { accept: 'application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2' };

  test('JSON by default, for anything, and for clients that name JSON', async () => {
    await using fresh = await startHttpService();
    const sent = JSON.stringify(event());
    for (const body of [sent, sent, '{}']) await post(`${fresh.url}/events`, body);
    fresh.counters.websocket.activeConnections = 2;
    for (const accept of ['*/*', 'application/json', 'application/json, text/plain, */*', 'text/html,*/*;q=0.8']) {
      const response = await fetch(`${fresh.url}/metrics`, { headers: { accept } });
      expect(response.headers.get('content-type')).toContain('application/json');
      expect(await response.json()).toEqual({
        ingestion: {
          eventsReceived: 3,
          eventsProcessed: 2,
          eventsFailed: 1,
          averageProcessingTime: expect.any(Number),
        },
        websocket: { activeConnections: 2, totalConnections: 0, messagesReceived: 0, messagesSent: 0 },
        storage: { eventsStored: 7, duplicatesIgnored: 1, storageLatency: 12 },
      });
    }
  });

  test('Prometheus text and OpenMetrics for scrapers', async () => {
    await using fresh = await startHttpService();
    for (const body of [JSON.stringify(event()), '{}']) await post(`${fresh.url}/events`, body);
    const plain = await fetch(`${fresh.url}/metrics`, { headers: { accept: 'text/plain' } });
    expect(plain.headers.get('content-type')).toStartWith('text/plain; version=0.0.4');
    const text = await plain.text();
    for (const line of [
      'weir_events_received_total 2',
      'weir_events_total{outcome="accepted"} 1',
      'weir_event_failures_total{code="missing_field"} 1',
      'weir_journal_pending_bytes 1000',
      'weir_sink_rows_total{sink="store"} 7',
      'weir_deliver_up 1',
      'weir_journal_seconds_until_full +Inf',
    ]) {
      expect(text.split('\n')).toContain(line);
    }
    const open = await fetch(`${fresh.url}/metrics`, { headers: TEXT });
    expect(open.headers.get('content-type')).toStartWith('application/openmetrics-text');
    expect(await open.text()).toEndWith('# EOF\n');
  });

  test('counters of deliver do not fall while it is away, also when this process is asked for the first time', async () => {
    service.ingestion.deliver = undefined;
    expect((await get('/metrics')).body.storage.eventsStored).toBe(7);
    const text = await (await fetch(`${service.url}/metrics`, { headers: TEXT })).text();
    expect(text).toContain('weir_deliver_up 0');
    expect(text).toContain('weir_sink_rows_total{sink="store"} 7');
  });
});
