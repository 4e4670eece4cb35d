/** The HTTP server with every route and the socket on it. */
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
import { queryRoutes } from './routes/query.ts';
import { type Stream, streamRoutes } from './routes/stream.ts';
import { routeLimits } from './settings.ts';
import { VERSION } from './version.ts';

export interface IngestionServerOptions {
  readonly config: Config;
  readonly model: EventModel;
  readonly ingestion: Ingestion;
  readonly counters: Counters;
  readonly metrics: Metrics;
  readonly stream: Stream;
  readonly logger: Logger;
}

export function createIngestionServer(options: IngestionServerOptions): ElysiaServer {
  const { config, model, ingestion, counters, metrics, stream, logger } = options;
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
  });
  const deps: RouteDeps = { ingestion, limits: routeLimits(config), counters, metrics, version: VERSION };
  eventsRoutes(server.app, deps);
  batchRoutes(server.app, deps);
  streamRoutes(server, stream);
  healthRoutes(server.app, deps);
  metricsRoutes(server.app, deps);
  queryRoutes(server.app, deps);
  return server;
}
