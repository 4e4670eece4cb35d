/** A small service that speaks the contract of POST /events/batch; faults are put in by the test. */

export interface FakeEvent {
  readonly eventId?: string;
  readonly eventType?: string;
  readonly [key: string]: unknown;
}

export interface FakeOptions {
  /** Answers in the place of the service; undefined lets it answer itself. `attempt` counts requests from 1. */
  readonly fault?: (
    events: readonly FakeEvent[],
    attempt: number,
  ) => Response | undefined | Promise<Response | undefined>;
  /** A rejection for an event, as the service would word it. */
  readonly judge?: (event: FakeEvent) => { code: string; field: string; message: string } | undefined;
  /** Dies when this request has been stored, before its reply, and comes back on the same port. */
  readonly dieAfter?: number;
  /** Ids that are answered `retry` the first time. */
  readonly retryOnce?: ReadonlySet<string>;
}

export interface FakeService extends Disposable {
  readonly url: string;
  /** What is stored, by id. */
  readonly stored: ReadonlyMap<string, FakeEvent>;
  readonly attempts: () => number;
  readonly inFlightMax: () => number;
  readonly userAgents: ReadonlySet<string>;
}

export function startFakeService(options: FakeOptions = {}): FakeService {
  const stored = new Map<string, FakeEvent>();
  const retried = new Set<string>();
  const userAgents = new Set<string>();
  let attempts = 0;
  let inFlight = 0;
  let inFlightMax = 0;

  function answer(events: readonly FakeEvent[]): Response {
    const results: object[] = [];
    let accepted = 0;
    let retries = 0;
    for (const [index, event] of events.entries()) {
      const eventId = String(event.eventId);
      const problem = options.judge?.(event);
      if (problem !== undefined) results.push({ index, eventId, status: 'rejected', ...problem });
      else if (stored.has(eventId)) results.push({ index, eventId, status: 'duplicate' });
      else if (options.retryOnce?.has(eventId) && !retried.has(eventId)) {
        retried.add(eventId);
        retries++;
        results.push({ index, eventId, status: 'retry', code: 'overloaded', message: 'later', retryAfterMs: 5 });
      } else {
        stored.set(eventId, event);
        accepted++;
      }
    }
    const duplicates = results.filter((result) => 'status' in result && result.status === 'duplicate').length;
    const successful = accepted + duplicates;
    const failed = events.length - successful;
    const counts = { totalEvents: events.length, successful, failed, duplicates };
    const status = statusOf({ accepted, successful, failed, retries, total: events.length });
    return Response.json(
      { batchId: 'b', ...counts, errors: [], results, processedAt: '2026-01-01T00:00:00Z' },
      { status },
    );
  }

  async function handle(request: Request): Promise<Response> {
    if (new URL(request.url).pathname !== '/events/batch') return new Response('not found', { status: 404 });
    userAgents.add(request.headers.get('user-agent') ?? '');
    const attempt = ++attempts;
    inFlightMax = Math.max(inFlightMax, ++inFlight);
    try {
      const { events } = (await request.json()) as { events: FakeEvent[] };
      const reply = (await options.fault?.(events, attempt)) ?? answer(events);
      if (attempt === options.dieAfter) await comeBack();
      return reply;
    } finally {
      inFlight--;
    }
  }

  const listen = (port: number) => Bun.serve({ hostname: '127.0.0.1', port, fetch: handle });
  let server = listen(0);
  const port = server.port ?? 0;

  async function comeBack(): Promise<void> {
    await server.stop(true);
    server = listen(port);
  }

  return {
    url: `http://127.0.0.1:${port}`,
    stored,
    userAgents,
    attempts: () => attempts,
    inFlightMax: () => inFlightMax,
    [Symbol.dispose]: () => void server.stop(true),
  };
}

interface Counts {
  readonly accepted: number;
  readonly successful: number;
  readonly failed: number;
  readonly retries: number;
  readonly total: number;
}

function statusOf({ accepted, successful, failed, retries, total }: Counts): number {
  if (retries === total) return 503;
  if (failed > 0) return successful > 0 ? 207 : 422;
  return accepted > 0 ? 202 : 200;
}
