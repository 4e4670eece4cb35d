/** POST /events and POST /events/batch in the API document. */
import { BEARER_SECURITY } from '@libs/elysia-server';
import { EXAMPLE_EVENT, schemaRef } from '@libs/models';
import {
  ACK_PARAMETER,
  EXAMPLE_REQUEST_ID,
  errorResponseOf,
  jsonResponse,
  MALFORMED,
  REQUEST_ID_PARAMETER,
  STALLED,
  TOO_LARGE,
  unsupportedType,
  withRetryAfter,
} from './openapi-responses.ts';

const EXAMPLE_TIME = '2026-03-14T09:26:53.700Z';
const EXAMPLE_ACCEPTED = {
  eventId: EXAMPLE_EVENT.eventId,
  status: 'accepted',
  timestamp: EXAMPLE_TIME,
  durability: 'journal',
  position: '0199c2a4-0000-7000-8000-00000000beef:42',
};
const EXAMPLE_REJECTED_ITEM = {
  index: 1,
  eventId: EXAMPLE_EVENT.eventId,
  status: 'rejected',
  code: 'missing_field',
  field: 'storeId',
  message: 'storeId is required.',
};
const EXAMPLE_BATCH = {
  batchId: '0199c2a4-7b20-7000-9c3d-1f2e3d4c5b6a',
  totalEvents: 2,
  successful: 2,
  failed: 0,
  duplicates: 0,
  durability: 'journal',
  errors: [] as string[],
  results: [] as unknown[],
  processedAt: EXAMPLE_TIME,
};
const EXAMPLE_LINES = `${JSON.stringify(EXAMPLE_EVENT)}\n${JSON.stringify({ ...EXAMPLE_EVENT, eventId: 'second-event' })}\n`;

export const EVENT_DETAIL = {
  tags: ['events'],
  security: BEARER_SECURITY,
  summary: 'Take in one event',
  description:
    'Replies once the event is on disk. Sending an event again is safe: its eventId makes it a duplicate. ' +
    'Content-Encoding may be gzip, deflate, br or zstd; text/plain (sendBeacon) is read as JSON.',
  operationId: 'postEvent',
  parameters: [ACK_PARAMETER, REQUEST_ID_PARAMETER],
  requestBody: {
    required: true,
    content: {
      'application/json': { schema: schemaRef('CartEvent'), example: EXAMPLE_EVENT },
      'text/plain': { schema: schemaRef('CartEvent'), example: EXAMPLE_EVENT },
    },
  },
  responses: {
    '202': jsonResponse('Accepted: the event is on disk.', 'EventReply', EXAMPLE_ACCEPTED),
    '200': jsonResponse('A duplicate: the first copy is on disk.', 'EventReply', {
      eventId: EXAMPLE_EVENT.eventId,
      status: 'accepted',
      timestamp: EXAMPLE_TIME,
      duplicate: true,
      message: 'An event with this id is already stored.',
      durability: 'journal',
    }),
    '400': MALFORMED,
    '408': STALLED,
    '413': TOO_LARGE,
    '415': unsupportedType(['application/json', 'text/plain']),
    '422': jsonResponse('Rejected: the event can never be accepted as it is.', 'EventReply', {
      error: 'missing_field',
      eventId: EXAMPLE_EVENT.eventId,
      status: 'rejected',
      timestamp: EXAMPLE_TIME,
      message: 'storeId is required.',
      durability: 'none',
      code: 'missing_field',
      field: 'storeId',
      requestId: EXAMPLE_REQUEST_ID,
    }),
    '503': withRetryAfter(
      errorResponseOf('Not now: the journal is full, the service is ending, or a first copy is still unsettled.', {
        error: 'journal_full',
        message: 'The journal is full.',
        details: { eventId: EXAMPLE_EVENT.eventId, retryAfterMs: 1000 },
      }),
    ),
  },
};

export const BATCH_DETAIL = {
  tags: ['events'],
  security: BEARER_SECURITY,
  summary: 'Take in many events',
  description:
    'As application/json one document with up to 1,000 events; as application/x-ndjson one event a line, taken in as the ' +
    'body arrives, without a count limit (with failOnError up to the limits of a JSON batch). Each event gets its own ' +
    'verdict; results lists those that were not plainly accepted, of a stream the first 10,000. An option in the body ' +
    'goes before the query parameter of the same name.',
  operationId: 'postBatch',
  parameters: [
    ACK_PARAMETER,
    {
      name: 'maxSize',
      in: 'query' as const,
      description:
        'The most events that this request may carry; more is 413. What a stream carried before them stays accepted.',
      schema: { type: 'integer' as const, minimum: 1 },
    },
    {
      name: 'failOnError',
      in: 'query' as const,
      description: 'All or nothing: one rejected event and nothing is stored.',
      schema: { type: 'boolean' as const, default: false },
    },
    REQUEST_ID_PARAMETER,
  ],
  requestBody: {
    required: true,
    content: {
      'application/json': {
        schema: schemaRef('BatchRequest'),
        example: { events: [EXAMPLE_EVENT], options: { failOnError: false } },
      },
      'text/plain': { schema: schemaRef('BatchRequest') },
      'application/x-ndjson': { schema: { type: 'string' as const }, example: EXAMPLE_LINES },
    },
  },
  responses: {
    '202': jsonResponse('Nothing failed and something new is on disk.', 'BatchReply', EXAMPLE_BATCH),
    '200': jsonResponse('All of them were duplicates.', 'BatchReply', {
      ...EXAMPLE_BATCH,
      duplicates: 2,
      results: [0, 1].map((index) => ({ index, eventId: EXAMPLE_EVENT.eventId, status: 'duplicate' })),
    }),
    '207': jsonResponse('Mixed: see results.', 'BatchReply', {
      ...EXAMPLE_BATCH,
      successful: 1,
      failed: 1,
      errors: ['Event 1, storeId: storeId is required. (missing_field)'],
      results: [EXAMPLE_REJECTED_ITEM],
    }),
    '400': MALFORMED,
    '408': STALLED,
    '413': errorResponseOf('Too many bytes or events.', {
      error: 'too_many_events',
      message: 'This batch may hold 1000 events; send the rest in another one.',
      details: { eventsMax: 1000, events: 1500 },
    }),
    '415': unsupportedType(['application/json', 'text/plain', 'application/x-ndjson']),
    '422': jsonResponse('Nothing usable, or failOnError and an event was rejected: nothing is stored.', 'BatchReply', {
      ...EXAMPLE_BATCH,
      successful: 0,
      failed: 2,
      error: 'batch_rejected',
      message: 'Every event of the batch was rejected: see results.',
      requestId: EXAMPLE_REQUEST_ID,
    }),
    '503': withRetryAfter(
      jsonResponse('Not now: all of them are to be sent again.', 'BatchReply', {
        ...EXAMPLE_BATCH,
        successful: 0,
        failed: 2,
        error: 'journal_full',
        message: 'The journal is full.',
        requestId: EXAMPLE_REQUEST_ID,
      }),
    ),
  },
};
