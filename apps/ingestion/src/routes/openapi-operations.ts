/** /health and /metrics in the API document. */
import { schemaRef } from '@libs/models';
import { errorResponseOf, withRetryAfter } from './openapi-responses.ts';

const EXAMPLE_TIME = '2026-03-14T09:26:53.700Z';

const HEALTH_CONTENT = { 'application/json': { schema: schemaRef('Health') } };

export const HEALTH_DETAIL = {
  tags: ['operations'],
  summary: 'How the service and its parts are',
  description:
    'A sink that is down degrades the service; only what keeps it from accepting events makes it unhealthy. Needs no token.',
  operationId: 'getHealth',
  responses: {
    '200': { description: 'Healthy or degraded: events are accepted.', content: HEALTH_CONTENT },
    '503': { description: 'Unhealthy: nothing can be accepted.', content: HEALTH_CONTENT },
  },
};

export const LIVE_DETAIL = {
  tags: ['operations'],
  summary: 'Does the process work',
  operationId: 'getLiveness',
  responses: { '200': statusResponse('It does.', 'alive') },
};

export const READY_DETAIL = {
  tags: ['operations'],
  summary: 'Should it get traffic',
  operationId: 'getReadiness',
  responses: {
    '200': statusResponse('Yes.', 'ready'),
    '503': withRetryAfter(
      errorResponseOf('No: it is shutting down, or its journal takes nothing.', {
        error: 'shutting_down',
        message: 'The service is shutting down and takes no new events.',
      }),
    ),
  },
};

export const METRICS_DETAIL = {
  tags: ['operations'],
  summary: 'Counters of the service',
  description:
    'JSON, or the Prometheus text format or OpenMetrics when Accept names one of them. Of all accept processes, whichever answers: sums in JSON, a series of each elsewhere. Needs no token: it holds counts, and nothing of any event.',
  operationId: 'getMetrics',
  responses: {
    '200': {
      description: 'The counters.',
      content: {
        'application/json': { schema: schemaRef('Metrics') },
        'text/plain': { schema: { type: 'string' as const }, example: 'weir_events_received_total 1010\n' },
        'application/openmetrics-text': { schema: { type: 'string' as const } },
      },
    },
  },
};

function statusResponse(description: string, status: string) {
  return {
    description,
    content: {
      'application/json': {
        schema: {
          type: 'object' as const,
          required: ['status', 'timestamp'],
          properties: {
            status: { type: 'string' as const, enum: [status] },
            timestamp: { type: 'string' as const, format: 'date-time' },
          },
        },
        example: { status, timestamp: EXAMPLE_TIME },
      },
    },
  };
}
