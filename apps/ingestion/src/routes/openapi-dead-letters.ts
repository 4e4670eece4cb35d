/** /dead-letters in the API document. */
import { EXAMPLE_EVENT } from '@libs/models';
import { DEAD_LETTER_STATES } from '../operator-requests.ts';
import {
  COUNT,
  DELIVER_ERRORS,
  INVALID,
  OPERATED,
  objectOf,
  pathParameter,
  queryParameter,
  reply,
  TEXT,
  TIME,
} from './openapi-operators.ts';
import { errorResponseOf, STALLED, TOO_LARGE, unsupportedType } from './openapi-responses.ts';

const ID = { type: 'integer', minimum: 1 };

const LETTER = objectOf(
  {
    id: ID,
    kind: { type: 'string', enum: ['row', 'range'], description: 'range: rows that a slow sink was spared.' },
    sink: TEXT,
    position: { type: 'string', description: 'Of the event, or of the first one of a range.' },
    lastPosition: TEXT,
    events: COUNT,
    eventId: TEXT,
    eventType: TEXT,
    storeId: TEXT,
    code: { type: 'string', description: 'Why it was refused: stable, snake_case.' },
    message: TEXT,
    attempts: COUNT,
    firstFailedAt: TIME,
    lastFailedAt: TIME,
    state: { type: 'string', enum: [...DEAD_LETTER_STATES] },
    event: { type: 'object', description: 'The event as it was stored in the journal.' },
    eventText: { type: 'string', description: 'In place of event, where that is no JSON.' },
  },
  ['lastPosition', 'events', 'eventId', 'eventType', 'storeId', 'event', 'eventText'],
);

const EXAMPLE_LETTER = {
  id: 17,
  kind: 'row',
  sink: 'kafka',
  position: '0199c2a4-0000-7000-8000-00000000beef:42',
  eventId: EXAMPLE_EVENT.eventId,
  eventType: EXAMPLE_EVENT.eventType,
  storeId: EXAMPLE_EVENT.storeId,
  code: 'message_too_large',
  message: 'The broker takes no message of this size.',
  attempts: 1,
  firstFailedAt: '2026-03-14T09:26:53.700Z',
  lastFailedAt: '2026-03-14T09:26:53.700Z',
  state: 'waiting',
  event: EXAMPLE_EVENT,
};

const FILTERS = [
  queryParameter('sink', 'Who refused it: store, kafka, http:NAME.', TEXT),
  queryParameter('eventType', 'Of this type.', TEXT),
  queryParameter('storeId', 'Of this store.', TEXT),
  queryParameter('code', 'Refused for this reason.', TEXT),
  queryParameter('from', 'Refused first at this time or later (ISO 8601 with an offset, or milliseconds).', TEXT),
  queryParameter('to', 'Refused first before this time.', TEXT),
];

const NOT_FOUND = errorResponseOf('There is none of this id (any more).', {
  error: 'dead_letter_not_found',
  message: 'There is no dead letter of this id.',
});

const SELECTION_REQUIRED = errorResponseOf('Nothing was named, or a parameter is wrong.', {
  error: 'selection_required',
  message: 'Name ids, at least one filter, or all=true for every dead letter.',
});

export const LETTERS_DETAIL = {
  ...OPERATED,
  summary: 'Dead letters',
  description:
    'What sinks refused for good, oldest first, with the reason and the event. A page ends early when its events grow beyond ' +
    '4 MiB. Parameters that are not known are refused.',
  operationId: 'listDeadLetters',
  parameters: [
    ...FILTERS,
    queryParameter('state', 'waiting, or replaying.', { type: 'string', enum: [...DEAD_LETTER_STATES] }),
    queryParameter('after', 'Only those behind this id: next of the page before.', { type: 'integer', minimum: 0 }),
    queryParameter('limit', 'How many at most.', { type: 'integer', minimum: 1, maximum: 1000, default: 100 }),
  ],
  responses: {
    '200': reply(
      'The dead letters; next is null at the end.',
      objectOf({ deadLetters: { type: 'array', items: LETTER }, next: { ...ID, nullable: true } }),
      { deadLetters: [EXAMPLE_LETTER], next: null },
    ),
    '400': INVALID,
    ...DELIVER_ERRORS,
  },
};

export const LETTER_DETAIL = {
  ...OPERATED,
  summary: 'One dead letter',
  operationId: 'getDeadLetter',
  parameters: [pathParameter('id', 'Its id.', ID)],
  responses: { '200': reply('The dead letter.', LETTER, EXAMPLE_LETTER), '404': NOT_FOUND, ...DELIVER_ERRORS },
};

const REPLAYED = objectOf({
  replayed: COUNT,
  failed: COUNT,
  results: {
    type: 'array',
    items: objectOf(
      {
        id: ID,
        outcome: { type: 'string', enum: ['replayed', 'failed', 'in_progress', 'not_found'] },
        rows: COUNT,
        code: TEXT,
        message: TEXT,
      },
      ['rows', 'code', 'message'],
    ),
  },
});

export const REPLAY_DETAIL = {
  ...OPERATED,
  summary: 'Send dead letters again',
  description:
    'Each one goes to the sink that refused it, with its first position and eventId: once in the store, at least once ' +
    'elsewhere, possibly out of order. What succeeds is a dead letter no longer. Repeat until replayed is 0.',
  operationId: 'replayDeadLetters',
  requestBody: {
    required: true,
    content: {
      'application/json': {
        schema: {
          type: 'object' as const,
          additionalProperties: false,
          properties: {
            ids: { type: 'array' as const, items: { type: 'integer' as const, minimum: 1 }, maxItems: 1000 },
            ...Object.fromEntries(FILTERS.map(({ name, description, schema }) => [name, { ...schema, description }])),
            all: { type: 'boolean' as const, description: 'Every dead letter.' },
            limit: { type: 'integer' as const, minimum: 1, maximum: 1000, default: 1000 },
          },
        },
        example: { sink: 'kafka', code: 'message_too_large' },
      },
    },
  },
  responses: {
    '200': reply('All that were found have been sent.', REPLAYED, {
      replayed: 1,
      failed: 0,
      results: [{ id: 17, outcome: 'replayed', rows: 1 }],
    }),
    '207': reply('Some were refused again: see results.', REPLAYED, {
      replayed: 0,
      failed: 1,
      results: [{ id: 17, outcome: 'failed', code: 'message_too_large', message: 'The broker takes no such message.' }],
    }),
    '400': SELECTION_REQUIRED,
    '408': STALLED,
    '413': TOO_LARGE,
    '415': unsupportedType(['application/json']),
    '422': errorResponseOf('A field of the body is wrong or not known.', {
      error: 'invalid_parameter',
      message: 'The field ids must be a list of ids.',
      details: { field: 'ids' },
    }),
    ...DELIVER_ERRORS,
  },
};

export const DELETE_LETTERS_DETAIL = {
  ...OPERATED,
  summary: 'Delete dead letters',
  description: 'For good: these events never reach the sink that refused them.',
  operationId: 'deleteDeadLetters',
  parameters: [
    queryParameter('id', 'This one; may be repeated, up to 1,000 times.', { type: 'array', items: ID }),
    ...FILTERS,
    queryParameter('all', 'true: every dead letter.', { type: 'boolean' }),
  ],
  responses: {
    '200': reply('How many were deleted.', objectOf({ deleted: COUNT }), { deleted: 1 }),
    '400': SELECTION_REQUIRED,
    ...DELIVER_ERRORS,
  },
};
