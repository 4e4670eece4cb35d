/** GET /topics, and GET /topics/{name}: a route's events in order of their position, with or without brokers. */
import type { Principal } from '@libs/auth';
import { allowTime, HttpError, isHead } from '@libs/elysia-server';
import type { Elysia } from 'elysia';
import { z } from 'zod';
import type { Positions } from '../operator-requests.ts';
import type { RouteDeps } from './deps.ts';
import { guarded } from './guard.ts';
import { TOPIC_DETAIL, TOPICS_DETAIL } from './openapi-topics.ts';
import type { OperatorClient } from './operators-client.ts';
import { FLAG, readQuery, whole } from './operators-parameters.ts';
import { clip } from './replies.ts';
import type { Topic } from './topics-catalog.ts';
import { parsePositions } from './topics-position.ts';
import { createTopicStream, type TopicTiming } from './topics-stream.ts';

export interface TopicLimits extends TopicTiming {
  /** Readers at once, in this process. */
  readonly readersMax: number;
  /** One look at the store. */
  readonly pageTimeoutMs: number;
  /** A reader that takes nothing for about this long is closed; more than a page and a heartbeat take together. */
  readonly stalledMs: number;
}

export const TOPIC_LIMITS: TopicLimits = {
  readersMax: 32,
  heartbeatMs: 10_000,
  pollMs: 500,
  pageTimeoutMs: 20_000,
  stalledMs: 35_000,
};

const QUERY = {
  from: z.string().optional(),
  limit: whole(1, Number.MAX_SAFE_INTEGER).optional(),
  follow: FLAG.optional(),
  access_token: z.string().optional(),
};
const RETRY_AFTER_SECONDS = '5';
const HEADERS = {
  'content-type': 'text/event-stream; charset=utf-8',
  'cache-control': 'no-store',
  // nginx would hold events back until its buffer is full.
  'x-accel-buffering': 'no',
};

export function topicRoutes(
  app: Elysia,
  { protect, topics = [], ingestion }: RouteDeps,
  operators: OperatorClient,
  limits: TopicLimits = TOPIC_LIMITS,
): void {
  let readers = 0;

  function list(request: Request): Response {
    readQuery(request, {});
    return Response.json({ topics });
  }

  function topicNamed(name: string | undefined): Topic {
    const topic = topics.find((one) => one.name === name);
    if (topic !== undefined) return topic;
    throw new HttpError(404, 'unknown_topic', `There is no topic ${clip(name ?? '')}.`, {
      details: { topics: topics.map((one) => one.name) },
    });
  }

  async function read(request: Request, principal: Principal | undefined, name?: string): Promise<Response> {
    const { eventTypes } = topicNamed(name);
    const { from, limit = Number.POSITIVE_INFINITY, follow = true } = readQuery(request, QUERY);
    if (isHead(request)) return new Response(null, { headers: HEADERS });
    if (ingestion.draining()) throw shuttingDown();
    if (readers >= limits.readersMax) throw tooManyReaders(limits.readersMax);
    readers += 1;
    try {
      const start = await startOf(request, from);
      allowTime(request, limits.stalledMs);
      const stream = createTopicStream({
        start,
        limit,
        follow,
        timing: limits,
        signal: request.signal,
        page: (after, rows, signal) =>
          operators.ask('rows', { eventTypes, after, limit: rows }, { signal, timeoutMs: limits.pageTimeoutMs }),
        isOver: () => ingestion.draining() || (principal !== undefined && Date.now() >= principal.expiresAtMs),
        onEnd: () => {
          readers -= 1;
        },
      });
      return new Response(stream, { headers: HEADERS });
    } catch (error) {
      readers -= 1;
      throw error;
    }
  }

  /** Last-Event-ID goes before `from`: EventSource sends it with the address that it was made with. */
  async function startOf(request: Request, from: string | undefined): Promise<Positions> {
    const header = request.headers.get('last-event-id');
    const text = header === null || header === '' ? (from ?? 'now') : header;
    if (text === 'oldest') return {};
    const given = text === 'now' ? undefined : parsePositions(text);
    if (text !== 'now' && given === undefined) throw invalidPosition(header === text ? 'Last-Event-ID' : 'from');
    const now = await operators.askFor(request, 'positions', {}, limits.pageTimeoutMs);
    if (given === undefined) return now;
    if (!Object.keys(given).some((journal) => journal in now)) throw unknownPosition();
    return given;
  }

  app.get('/topics', guarded(protect, 'read', list), { detail: TOPICS_DETAIL });
  app.get(
    '/topics/:name',
    guarded(protect, 'read', (request, principal, { name }) => read(request, principal, name), 'url'),
    {
      detail: TOPIC_DETAIL,
    },
  );
}

function invalidPosition(parameter: string): HttpError {
  const allowed = ['now', 'oldest', 'the id of an event'];
  return new HttpError(400, 'invalid_parameter', `${parameter} must be one of: ${allowed.join(', ')}.`, {
    details: { parameter, allowed },
  });
}

function unknownPosition(): HttpError {
  return new HttpError(
    410,
    'unknown_position',
    'No journal of this position is known here any more. Read again with from=oldest or from=now.',
  );
}

function tooManyReaders(readersMax: number): HttpError {
  return new HttpError(503, 'too_many_readers', `No more than ${readersMax} readers are served at once.`, {
    details: { readersMax },
    headers: { 'retry-after': RETRY_AFTER_SECONDS },
  });
}

function shuttingDown(): HttpError {
  return new HttpError(503, 'shutting_down', 'The service is shutting down.', {
    headers: { 'retry-after': RETRY_AFTER_SECONDS },
  });
}
