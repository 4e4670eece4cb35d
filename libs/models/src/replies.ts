/** What the HTTP endpoints answer, for the API docs. Replies only ever gain fields, so clients must ignore what they do not know. */
import { ACK_LEVELS } from '@libs/pipeline';
import { z } from 'zod';

const EXAMPLE_ID = '0199c2a4-7b1e-7c55-8a53-5f0c3d2e9a10';
const EXAMPLE_TIME = '2026-03-14T09:26:53.700Z';
const EXAMPLE_POSITION = '0199c2a4-0000-7000-8000-00000000beef:42';

const timestamp = z.string().meta({ format: 'date-time' });
const count = z.int().min(0);
const requestId = z.string().meta({ description: 'The same as in the X-Request-Id header and in the logs.' });
const durability = z.enum([...ACK_LEVELS, 'none']).meta({
  description:
    'The level that was reached: journal is on disk, stored is in the database as well, routed is done with by every other sink, too; none when nothing was stored.',
});
const deduplication = z.literal('local').meta({
  description:
    'Present when the window that instances share (Redis) could not be asked: only what this process knows was compared.',
});
const position = z.string().meta({ description: '`<journal>:<seq>`: where the row stands.' });

export const eventReplySchema = z
  .looseObject({
    eventId: z.string().nullable().meta({ description: 'null when it could not be read.' }),
    status: z.enum(['accepted', 'rejected']),
    timestamp,
    message: z.string().optional(),
    duplicate: z.boolean().optional().meta({ description: 'true: the first copy of this event is durable.' }),
    durability,
    deduplication: deduplication.optional(),
    position: position.optional(),
    code: z.string().optional().meta({ description: 'Why it was rejected.' }),
    field: z.string().optional().meta({ description: 'Where, as a path with dots and brackets.' }),
    requestId: requestId.optional(),
  })
  .meta({
    description: 'What became of one event.',
    example: {
      eventId: EXAMPLE_ID,
      status: 'accepted',
      timestamp: EXAMPLE_TIME,
      durability: 'journal',
      position: EXAMPLE_POSITION,
    },
  });

export const batchItemSchema = z
  .looseObject({
    index: count.meta({ description: 'Its place in the request, from 0.' }),
    eventId: z.string().nullable(),
    status: z.enum(['duplicate', 'rejected', 'retry']),
    code: z.string().optional(),
    field: z.string().optional(),
    message: z.string().optional(),
    retryAfterMs: count.optional(),
  })
  .meta({ description: 'An event that was not plainly accepted.' });

export const batchReplySchema = z
  .looseObject({
    batchId: z.string(),
    totalEvents: count,
    successful: count.meta({ description: 'Accepted and duplicates: what need not be sent again.' }),
    failed: count,
    duplicates: count,
    durability: durability.optional(),
    deduplication: deduplication.optional(),
    errors: z.array(z.string()),
    results: z
      .array(batchItemSchema)
      .meta({ description: 'In input order, without the events that were plainly accepted.' }),
    resultsTruncated: z
      .boolean()
      .optional()
      .meta({ description: 'true: results lists not all of them; the counts are exact.' }),
    processedAt: timestamp,
  })
  .meta({
    description: 'What became of a batch.',
    example: {
      batchId: '0199c2a4-7b20-7000-9c3d-1f2e3d4c5b6a',
      totalEvents: 2,
      successful: 1,
      failed: 1,
      duplicates: 0,
      durability: 'journal',
      errors: ['Event 1, storeId: storeId is required. (missing_field)'],
      results: [
        {
          index: 1,
          eventId: EXAMPLE_ID,
          status: 'rejected',
          code: 'missing_field',
          field: 'storeId',
          message: 'storeId is required.',
        },
      ],
      processedAt: EXAMPLE_TIME,
    },
  });

export const errorBodySchema = z
  .looseObject({
    error: z.string().meta({ description: 'A stable snake_case code.' }),
    message: z.string(),
    details: z.looseObject({}).optional(),
    requestId,
  })
  .meta({
    description: 'Why a request was not served.',
    example: {
      error: 'malformed_json',
      message: 'Found "}", expected a value.',
      details: { offset: 17 },
      requestId: '0199c2a4-7b21-7000-8d1e-2f3a4b5c6d7e',
    },
  });

const serviceSchema = z.looseObject({
  state: z.enum(['healthy', 'degraded', 'unhealthy']),
  latencyMs: z.number().min(0).optional(),
  lastError: z.string().optional(),
});

export const healthSchema = z
  .looseObject({
    status: z.enum(['healthy', 'degraded', 'unhealthy']),
    timestamp,
    version: z.string(),
    services: z.looseObject({ journal: serviceSchema, clickhouse: serviceSchema }),
    workers: z
      .array(serviceSchema.extend({ name: z.string(), reportAgeMs: z.number().min(0).optional() }))
      .optional()
      .meta({ description: 'Each accept process, where there are several.' }),
    metrics: z.looseObject({
      eventsPerSecond: z.number().min(0),
      activeConnections: count,
      errorRate: z.number().min(0).max(1).meta({ description: 'Failed events as a part of all, from 0 to 1.' }),
    }),
  })
  .meta({
    description: 'How the service and its parts are.',
    example: {
      status: 'healthy',
      timestamp: EXAMPLE_TIME,
      version: '0.1.0',
      services: { journal: { state: 'healthy', latencyMs: 0.2 }, clickhouse: { state: 'healthy', latencyMs: 12 } },
      metrics: { eventsPerSecond: 120.5, activeConnections: 3, errorRate: 0 },
    },
  });

export const metricsSchema = z
  .looseObject({
    ingestion: z.looseObject({
      eventsReceived: count,
      eventsProcessed: count.meta({ description: 'Accepted and duplicates.' }),
      eventsFailed: count.meta({ description: 'Rejected, and to be sent again.' }),
      averageProcessingTime: z.number().min(0).meta({ description: 'Milliseconds.' }),
    }),
    websocket: z.looseObject({
      activeConnections: count,
      totalConnections: count,
      messagesReceived: count,
      messagesSent: count,
    }),
    storage: z.looseObject({
      eventsStored: count,
      duplicatesIgnored: count,
      storageLatency: z.number().min(0).meta({ description: 'Milliseconds.' }),
    }),
    workers: z
      .looseObject({ configured: count, reporting: count })
      .optional()
      .meta({ description: 'Accept processes, where there are several, and those whose counters are in the sums.' }),
  })
  .meta({
    description: 'Counters since the accept processes started, all of them together.',
    example: {
      ingestion: { eventsReceived: 1010, eventsProcessed: 1000, eventsFailed: 10, averageProcessingTime: 0.4 },
      websocket: { activeConnections: 3, totalConnections: 12, messagesReceived: 400, messagesSent: 412 },
      storage: { eventsStored: 990, duplicatesIgnored: 10, storageLatency: 12 },
    },
  });

export type EventReply = z.infer<typeof eventReplySchema>;
export type BatchReply = z.infer<typeof batchReplySchema>;
export type ErrorBody = z.infer<typeof errorBodySchema>;
export type Health = z.infer<typeof healthSchema>;
export type Metrics = z.infer<typeof metricsSchema>;
