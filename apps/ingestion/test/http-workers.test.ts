/** /health and /metrics of one accept process among several: it answers for all of them. */
import { describe, expect, test } from 'bun:test';
import { type KnownWorker, REPORT_AGE_MAX_MS, type WorkerReport } from '../src/workers.ts';
import { event, type HttpService, post, startHttpService } from './http-service.ts';

const PEER: WorkerReport = {
  name: 'accept',
  journal: {
    state: 'open',
    lastSeq: 50,
    durableSeq: 50,
    releasedSeq: 45,
    pendingBytes: 600,
    limitBytes: 1_000_000,
    secondsUntilFull: 90,
    segments: 2,
    dedupeIds: 40,
    dedupeWindowMs: 1_800_000,
    syncMode: 'inline',
    lastSyncMs: 3,
    commits: 9,
  },
  events: { received: 100, accepted: 80, duplicates: 10, rejected: 7, retries: 3, calls: 20, timeMs: 40 },
  websocket: { activeConnections: 5, totalConnections: 8, messagesReceived: 60, messagesSent: 61 },
  failuresByCode: { too_long: 10 },
  recent: { eventsPerSecond: 10, received: 100, failed: 10, calls: 20, timeMs: 40 },
  rssBytes: 90_000_000,
  cpuSeconds: 2.5,
};
const third = (more: Partial<WorkerReport> = {}): WorkerReport => ({ ...PEER, name: 'accept-2', ...more });
const full = (reason: string): WorkerReport['journal'] => ({
  ...PEER.journal,
  state: 'full',
  reason,
  secondsUntilFull: 0,
});

/** The second of three; `heard` is what deliver passed on. */
async function among(heard: () => readonly KnownWorker[]): Promise<HttpService> {
  return await startHttpService({}, { workers: { own: 1, count: 3, heard } });
}

const fresh = (...reports: readonly WorkerReport[]): KnownWorker[] => reports.map((report) => ({ report, ageMs: 700 }));

async function get({ url }: HttpService, path: string) {
  const response = await fetch(`${url}${path}`);
  // biome-ignore lint/suspicious/noExplicitAny: tests assert the shape of what comes back.
  return { status: response.status, body: (await response.json()) as any };
}

async function scrape({ url }: HttpService): Promise<string[]> {
  return (await (await fetch(`${url}/metrics`, { headers: { accept: 'text/plain' } })).text()).split('\n');
}

describe('/health', () => {
  test('is of all together, with each by its name', async () => {
    await using service = await among(() => fresh(PEER, third()));
    const { status, body } = await get(service, '/health');
    expect([status, body.status]).toEqual([200, 'healthy']);
    expect(body.services.journal).toEqual({
      state: 'healthy',
      latencyMs: 3,
      pendingEvents: 13,
      pendingBytes: 2200,
      limitBytes: 3_000_000,
      secondsUntilFull: 90,
    });
    expect(body.dedupe).toEqual({ ids: 90, windowMs: 1_800_000 });
    expect(body.metrics).toEqual({ eventsPerSecond: 20, activeConnections: 10, errorRate: 0.1 });
    const [accept, own, last] = body.workers;
    expect(body.workers).toHaveLength(3);
    expect(accept).toEqual({
      name: 'accept',
      state: 'healthy',
      reportAgeMs: 700,
      pendingEvents: 5,
      pendingBytes: 600,
      limitBytes: 1_000_000,
      activeConnections: 5,
      eventsPerSecond: 10,
    });
    expect(own).toMatchObject({ name: 'accept-1', reportAgeMs: 0, pendingEvents: 3 });
    expect(last).toMatchObject({ name: 'accept-2', reportAgeMs: 700 });
  });

  test('a full journal degrades it and is named; the others are ready', async () => {
    await using service = await among(() => fresh(PEER, third({ journal: full('no room') })));
    const { status, body } = await get(service, '/health');
    expect([status, body.status]).toEqual([200, 'degraded']);
    expect(body.services.journal).toMatchObject({ state: 'degraded', lastError: 'no room', secondsUntilFull: 0 });
    expect(body.workers[2]).toMatchObject({ name: 'accept-2', state: 'unhealthy', lastError: 'no room' });
    expect((await get(service, '/health/ready')).status).toBe(200);
  });

  test('it is unhealthy only when nobody takes anything; ready is of the process that answers', async () => {
    const heard = fresh({ ...PEER, journal: full('no room') }, third({ journal: full('no room') }));
    await using service = await among(() => heard);
    service.ingestion.journal = full('no room here');
    expect(await get(service, '/health')).toMatchObject({ status: 503, body: { status: 'unhealthy' } });
    heard[0] = { report: PEER, ageMs: 0 };
    expect(await get(service, '/health')).toMatchObject({ status: 200, body: { status: 'degraded' } });
    expect(await get(service, '/health/ready')).toMatchObject({ status: 503, body: { error: 'journal_full' } });
  });

  test('one that is missing, or says nothing any more, degrades it and is named', async () => {
    const silent = { report: third(), ageMs: REPORT_AGE_MAX_MS + 1 };
    await using service = await among(() => [...fresh(PEER), silent]);
    const { status, body } = await get(service, '/health');
    expect([status, body.status]).toEqual([200, 'degraded']);
    expect(body.workers[2]).toEqual({
      name: 'accept-2',
      state: 'unhealthy',
      lastError: 'It does not report: it is starting, or away.',
    });
    expect(body.services.journal.limitBytes).toBe(2_000_000);
  });

  test('without deliver the answer is of this one, and says so', async () => {
    await using service = await among(() => []);
    service.ingestion.deliver = undefined;
    const { body } = await get(service, '/health');
    expect(body.status).toBe('degraded');
    expect(body.workers).toEqual([
      { name: 'accept', state: 'unhealthy', lastError: 'Not known while the deliver process is away.' },
      expect.objectContaining({ name: 'accept-1', state: 'healthy' }),
      { name: 'accept-2', state: 'unhealthy', lastError: 'Not known while the deliver process is away.' },
    ]);
  });
});

describe('/metrics', () => {
  test('JSON: the sums, with how many are in them', async () => {
    await using service = await among(() => fresh(PEER, third()));
    await post(`${service.url}/events`, JSON.stringify(event()));
    service.counters.websocket.activeConnections = 2;
    const { body } = await get(service, '/metrics');
    expect(body).toEqual({
      ingestion: {
        eventsReceived: 201,
        eventsProcessed: 181,
        eventsFailed: 20,
        averageProcessingTime: expect.any(Number),
      },
      websocket: { activeConnections: 12, totalConnections: 16, messagesReceived: 120, messagesSent: 122 },
      storage: { eventsStored: 7, duplicatesIgnored: 20, storageLatency: 12 },
      workers: { configured: 3, reporting: 3 },
    });
  });

  test('Prometheus: a series of each, so that one that starts again begins its own at zero', async () => {
    await using service = await among(() => fresh(PEER, third()));
    await post(`${service.url}/events`, JSON.stringify(event()));
    const lines = await scrape(service);
    for (const line of [
      'weir_events_total{worker="accept",outcome="accepted"} 80',
      'weir_events_total{worker="accept-1",outcome="accepted"} 1',
      'weir_events_total{worker="accept-2",outcome="accepted"} 80',
      'weir_event_failures_total{worker="accept",code="too_long"} 10',
      'weir_journal_seconds_until_full{worker="accept"} 90',
      'weir_journal_seconds_until_full{worker="accept-1"} +Inf',
      'weir_accept_cpu_seconds{worker="accept-2"} 2.5',
      'weir_sink_rows_total{sink="store"} 7',
      'weir_workers 3',
      'weir_workers_up 3',
    ])
      expect(lines).toContain(line);
  });

  test('no counter falls when another one answers: what deliver told of us is what everybody says', async () => {
    const told = { ...PEER, name: 'accept-1' };
    await using service = await among(() => fresh(PEER, told, third()));
    await post(`${service.url}/events`, JSON.stringify(event()));
    expect(await scrape(service)).toContain('weir_events_received_total{worker="accept-1"} 100');
    expect((await get(service, '/metrics')).body.ingestion.eventsReceived).toBe(300);
  });

  test('without deliver: only its own, and a gauge that says so', async () => {
    await using service = await among(() => []);
    await post(`${service.url}/events`, JSON.stringify(event()));
    const lines = await scrape(service);
    expect(lines).toContain('weir_workers_up 1');
    expect(lines.filter((line) => line.startsWith('weir_events_received_total'))).toEqual([
      'weir_events_received_total{worker="accept-1"} 1',
    ]);
    expect((await get(service, '/metrics')).body.workers).toEqual({ configured: 3, reporting: 1 });
  });
});
