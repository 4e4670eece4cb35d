/** /topics in the API document. */
import { BEARER_SECURITY } from '@libs/elysia-server';
import { DELIVER_ERRORS, INVALID, objectOf, pathParameter, queryParameter, reply, TEXT } from './openapi-operators.ts';
import { errorResponseOf, withRetryAfter } from './openapi-responses.ts';

const READ = { tags: ['topics'], security: BEARER_SECURITY };
const EXAMPLE_TOPIC = { name: 'cart.updated', eventTypes: ['cart_updated'] };
const EXAMPLE_STREAM =
  'retry: 1000\n\nid: 0199c2a4-0000-7000-8000-00000000beef:42\ndata: {"storeId":"store-1","eventType":"cart_updated","eventId":"…"}\n\n';

export const TOPICS_DETAIL = {
  ...READ,
  summary: 'Which topics there are',
  description: 'The routes of the configuration: names of topics, and the event types that go there.',
  operationId: 'listTopics',
  responses: {
    '200': reply(
      'The topics.',
      objectOf({
        topics: { type: 'array', items: objectOf({ name: TEXT, eventTypes: { type: 'array', items: TEXT } }) },
      }),
      { topics: [EXAMPLE_TOPIC] },
    ),
    '400': INVALID,
  },
};

export const TOPIC_DETAIL = {
  ...READ,
  summary: "Read a topic's events",
  description:
    'Server-Sent Events, read from the store in order of position within each journal, with or without brokers. The id of an event is ' +
    'where to go on: EventSource sends the last one as Last-Event-ID by itself. A comment comes every 10 s without an event. ' +
    'Events that a sink refused at first and that were replayed later are not shown to readers that have passed them. An ' +
    'EventSource, which can send no headers, may give its token as access_token.',
  operationId: 'readTopic',
  parameters: [
    pathParameter('name', 'Of a topic.', TEXT),
    queryParameter('from', 'now, oldest, or the id of the last event that was read.', { ...TEXT, default: 'now' }),
    queryParameter('limit', 'Ends after so many events.', { type: 'integer', minimum: 1 }),
    queryParameter('follow', 'false: ends where there is nothing more, instead of waiting.', {
      type: 'boolean',
      default: true,
    }),
    {
      name: 'Last-Event-ID',
      in: 'header' as const,
      description: 'Goes before from.',
      schema: { type: 'string' as const },
    },
  ],
  responses: {
    '200': {
      description: 'The events, as they are stored.',
      content: { 'text/event-stream': { schema: { type: 'string' as const }, example: EXAMPLE_STREAM } },
    },
    '400': INVALID,
    '404': errorResponseOf('There is no such topic; details name those that there are.', {
      error: 'unknown_topic',
      message: 'There is no topic nowhere.',
      details: { topics: [EXAMPLE_TOPIC.name] },
    }),
    '410': errorResponseOf('The position is of a journal that is not known here.', {
      error: 'unknown_position',
      message: 'No journal of this position is known here any more. Read again with from=oldest or from=now.',
    }),
    ...DELIVER_ERRORS,
    '503': withRetryAfter(
      errorResponseOf('Too many readers, or the process that reads the store is away.', {
        error: 'too_many_readers',
        message: 'No more than 32 readers are served at once.',
        details: { readersMax: 32 },
      }),
    ),
  },
};
