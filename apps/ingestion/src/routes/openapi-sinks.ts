/** /sinks in the API document. */
import { COUNT, DELIVER_ERRORS, INVALID, OPERATED, objectOf, pathParameter, reply, TEXT } from './openapi-operators.ts';
import { errorResponseOf } from './openapi-responses.ts';

const SINK = objectOf(
  {
    name: TEXT,
    removed: { type: 'boolean', description: 'Not in the configuration any more; it holds the journal until dropped.' },
    state: { type: 'string', enum: ['healthy', 'degraded', 'unhealthy'] },
    stopped: { type: 'string', description: 'Why it stopped for good.' },
    lastError: TEXT,
    required: { type: 'boolean' },
    pendingEvents: COUNT,
    pendingBytes: COUNT,
    oldestPendingAgeMs: { type: 'number', minimum: 0, description: 'How long its oldest event has waited.' },
    deadLetters: COUNT,
  },
  ['state', 'stopped', 'lastError', 'required', 'pendingEvents', 'pendingBytes', 'oldestPendingAgeMs', 'deadLetters'],
);

export const SINKS_DETAIL = {
  ...OPERATED,
  summary: 'Where events go',
  description: 'Every sink of the configuration, and those that were taken out of it and still have a cursor.',
  operationId: 'listSinks',
  responses: {
    '200': reply('The sinks.', objectOf({ sinks: { type: 'array', items: SINK } }), {
      sinks: [
        { name: 'store', removed: false, state: 'healthy', required: true, pendingEvents: 0, deadLetters: 0 },
        { name: 'http:analytics', removed: true, pendingEvents: 1200 },
      ],
    }),
    '400': INVALID,
    ...DELIVER_ERRORS,
  },
};

export const DROP_SINK_DETAIL = {
  ...OPERATED,
  summary: 'Drop a sink that was removed',
  description:
    'Forgets its cursor, so that the journal is released without it. What it had not had, it never gets. Its dead letters stay.',
  operationId: 'dropSink',
  parameters: [pathParameter('name', 'Its name, such as http:analytics.', TEXT)],
  responses: {
    '200': reply(
      'It is gone; pendingEvents is what it had not had.',
      objectOf({ name: TEXT, dropped: { type: 'boolean' }, pendingEvents: COUNT }),
      { name: 'http:analytics', dropped: true, pendingEvents: 1200 },
    ),
    '400': INVALID,
    '404': errorResponseOf('There is no such sink.', { error: 'unknown_sink', message: 'There is no sink nowhere.' }),
    '409': errorResponseOf('It is in use.', {
      error: 'sink_configured',
      message: 'The sink kafka is in use. Take it out of the configuration and start the service again, then drop it.',
    }),
    ...DELIVER_ERRORS,
  },
};
