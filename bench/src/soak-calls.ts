/** What the soak's clients do, call by call. Every answer is held against what it must be. */
import { createSoakEvents, type SoakEvent, type Verdict } from './soak-events.ts';
import { openSoakSocket, type SoakSocket } from './soak-socket.ts';

export interface SoakCounts {
  /** Events by how they were answered, as they had to be. */
  readonly answered: Readonly<Record<Verdict, number>>;
  /** Events without an answer: they may be stored or not. */
  readonly unanswered: number;
  readonly webSockets: number;
  readonly brokenRequests: number;
  readonly queries: number;
  readonly problems: Readonly<Record<string, number>>;
}

export type SoakCall = 'single' | 'batch' | 'frame' | 'reconnect' | 'broken' | 'query';

export interface SoakCalls extends Readonly<Record<SoakCall, () => Promise<void>>> {
  /** Opens the first WebSockets. */
  open(sockets: number): Promise<void>;
  /** Closes them, each once it has all its answers. */
  close(): Promise<void>;
  problem(name: string): void;
  counts(): SoakCounts;
}

const BATCH_EVENTS = 100;
const CALL_TIMEOUT_MS = 30_000;
const PROBLEMS_MAX = 20;
const QUERY =
  'SELECT eventType, count(), max(receivedAt) FROM raw_events GROUP BY eventType ORDER BY eventType FORMAT JSON';
const VERDICT_OF_STATUS: Readonly<Record<number, Verdict>> = { 202: 'accepted', 200: 'duplicate', 422: 'rejected' };

export function createSoakCalls(host: string, port: number, seed: number): SoakCalls {
  const events = createSoakEvents(seed);
  const answered = { accepted: 0, duplicate: 0, rejected: 0 };
  const counts = { unanswered: 0, webSockets: 0, brokenRequests: 0, queries: 0 };
  const problems = new Map<string, number>();
  const sockets: SoakSocket[] = [];
  let frames = 0;

  function problem(name: string): void {
    const known = problems.has(name) || problems.size < PROBLEMS_MAX ? name : 'others';
    problems.set(known, (problems.get(known) ?? 0) + 1);
  }

  function settle(event: SoakEvent, verdict: string): void {
    if (verdict !== event.expected) return problem(`answered ${verdict} instead of ${event.expected}`);
    answered[event.expected] += 1;
    if (event.expected === 'accepted') events.acknowledged(event);
  }

  async function post(path: string, body: string): Promise<{ status: number; text: string }> {
    const response = await fetch(`http://${host}:${port}${path}`, {
      method: 'POST',
      body,
      headers: { 'content-type': 'application/json' },
      signal: AbortSignal.timeout(CALL_TIMEOUT_MS),
    });
    return { status: response.status, text: await response.text() };
  }

  async function single(): Promise<void> {
    const event = events.next();
    counts.unanswered += 1;
    const { status } = await post('/events', event.text);
    counts.unanswered -= 1;
    settle(event, VERDICT_OF_STATUS[status] ?? `status ${status}`);
  }

  async function batch(): Promise<void> {
    const sent = Array.from({ length: BATCH_EVENTS }, () => events.next());
    counts.unanswered += sent.length;
    const { status, text } = await post('/events/batch', `{"events":[${sent.map((event) => event.text).join(',')}]}`);
    counts.unanswered -= sent.length;
    const { results } = JSON.parse(text) as { results?: { index: number; status: string }[] };
    if (results === undefined) return problem(`a batch was answered ${status}`);
    const verdicts = new Map(results.map((result) => [result.index, result.status]));
    for (const [index, event] of sent.entries()) settle(event, verdicts.get(index) ?? 'accepted');
  }

  async function query(): Promise<void> {
    const { status, text } = await post('/query', QUERY);
    const { rows } = JSON.parse(text) as { rows?: number };
    if (status !== 200 || rows === undefined) return problem(`a query was answered ${status}`);
    counts.queries += 1;
  }

  async function connect(): Promise<void> {
    const lost = (reason: string) => problem(`a WebSocket was lost: ${reason}`);
    sockets.push(await openSoakSocket({ host, port }, { settle, lost }));
    counts.webSockets += 1;
  }

  async function finish(socket: SoakSocket): Promise<void> {
    const unanswered = await socket.finish(CALL_TIMEOUT_MS);
    counts.unanswered += unanswered;
  }

  /** The oldest one goes, and another one comes. */
  async function reconnect(): Promise<void> {
    const oldest = sockets.shift();
    await connect();
    if (oldest !== undefined) await finish(oldest);
  }

  /** A client that dies in the middle of a body. */
  async function broken(): Promise<void> {
    const written = Promise.withResolvers<void>();
    const socket = await Bun.connect({
      hostname: host,
      port,
      socket: { data() {}, close: () => written.resolve(), error: () => written.resolve() },
    });
    socket.write(
      `POST /events HTTP/1.1\r\nHost: ${host}\r\nContent-Type: application/json\r\nContent-Length: 400\r\n\r\n{"eventId":`,
    );
    socket.end();
    await written.promise;
    counts.brokenRequests += 1;
  }

  async function frame(): Promise<void> {
    frames += 1;
    sockets[frames % sockets.length]?.send(events.next());
  }

  return {
    single,
    batch,
    frame,
    reconnect,
    broken,
    query,
    async open(wanted) {
      for (let count = 0; count < wanted; count++) await connect();
    },
    async close() {
      for (const socket of sockets.splice(0)) await finish(socket);
    },
    problem,
    counts: () => ({ answered, ...counts, problems: Object.fromEntries(problems) }),
  };
}
