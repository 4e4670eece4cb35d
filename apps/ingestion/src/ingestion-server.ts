/** The HTTP server with every route and the socket on it. */
import type { Auth } from '@libs/auth';
import { createElysiaServer, type ElysiaServer } from '@libs/elysia-server';
import { type EventModel, openApiSchemas } from '@libs/models';
import type { Logger, Metrics } from '@libs/monitoring';
import type { Config } from './config.ts';
import type { Ingestion } from './ingestion.ts';
import { batchRoutes } from './routes/batch.ts';
import type { Counters } from './routes/counters.ts';
import type { RouteDeps } from './routes/deps.ts';
import { eventsRoutes } from './routes/events.ts';
import { healthRoutes } from './routes/health.ts';
import { metricsRoutes } from './routes/metrics.ts';
import { operatorRoutes } from './routes/operators.ts';
import { queryRoutes } from './routes/query.ts';
import { type Stream, streamRoutes } from './routes/stream.ts';
import { topicsOf } from './routes/topics-catalog.ts';
import { routeLimits } from './settings.ts';
import type { Turn } from './turn.ts';
import { VERSION } from './version.ts';
import type { Workers } from './workers.ts';

export interface IngestionServerOptions {
  readonly config: Config;
  readonly model: EventModel;
  readonly ingestion: Ingestion;
  readonly turn: Turn;
  readonly counters: Counters;
  readonly metrics: Metrics;
  readonly workers: Workers;
  readonly stream: Stream;
  readonly logger: Logger;
  /** Absent: the service is open to all. */
  readonly auth?: Auth | undefined;
}

export function createIngestionServer(options: IngestionServerOptions): ElysiaServer {
  const { config, model, ingestion, turn, counters, metrics, workers, stream, logger, auth } = options;
  const server = createElysiaServer({
    name: 'Weir',
    version: VERSION,
    description: 'Event ingestion that never loses an event it has acknowledged.',
    hostname: config.HOST,
    port: config.PORT,
    reusePort: config.WEIR_WORKERS > 1,
    requestTimeoutMs: config.REQUEST_TIMEOUT_MS,
    connectionsMax: config.CONNECTIONS_MAX,
    corsOrigins: config.corsOrigins,
    logger,
    openapi: { info: { license: { name: 'MIT' } }, components: { schemas: openApiSchemas(model) } },
    websocket: stream.websocket,
    draining: ingestion.draining,
    ...(auth === undefined ? {} : { auth }),
  });
  const deps: RouteDeps = {
    ingestion,
    limits: routeLimits(config),
    turn,
    counters,
    metrics,
    workers,
    version: VERSION,
    protect: server.protect,
    topics: topicsOf(config.routes),
    sinks: { kafka: config.kafkaBrokers.length > 0, downstreams: Object.keys(config.downstreams) },
  };
  eventsRoutes(server.app, deps);
  batchRoutes(server.app, deps);
  streamRoutes(server, stream);
  healthRoutes(server.app, deps);
  metricsRoutes(server.app, deps);
  queryRoutes(server.app, deps);
  operatorRoutes(server.app, deps);
  return server;
}
