/** The HTTP server that every Weir service stands on: Bun.serve, Elysia's routing, and what is common to all replies. */
import type { Auth } from '@libs/auth';
import type { Logger } from '@libs/monitoring';
import { Elysia } from 'elysia';
import { createCors } from './cors.ts';
import { createDeadlines } from './deadlines.ts';
import { createDispatch, type Dispatch } from './dispatch.ts';
import { errorResponse, internalError } from './http-error.ts';
import { createProtect, type Protect } from './protect.ts';
import type { RequestHost } from './request-context.ts';
import { createRouteTable } from './route-table.ts';
import { type OpenApiOptions, swaggerRoutes } from './swagger.ts';

export interface ElysiaServerOptions {
  readonly name: string;
  readonly version: string;
  readonly description: string;
  readonly hostname: string;
  /** 0 takes a free one. */
  readonly port: number;
  /** Several processes share the port; a port that somebody else shares too is then taken without an error. */
  readonly reusePort: boolean;
  /** Milliseconds, 1,000–240,000, for the headers, and for the body. */
  readonly requestTimeoutMs: number;
  /**
   * Requests under way; past it 503 `overloaded`. Unlimited when absent. WebSockets do not count: a service that is full of
   * them must still say that it is well.
   */
  readonly connectionsMax?: number;
  /** Bytes that bodies which are still arriving may hold together (256 MiB). */
  readonly bodyMemoryBytesMax?: number;
  /** Exact origins, or `*`. */
  readonly corsOrigins: readonly string[];
  readonly logger: Logger;
  readonly openapi: OpenApiOptions;
  /** Passed on to Bun as it is. */
  // biome-ignore lint/suspicious/noExplicitAny: what hangs on a socket is the service's own affair.
  readonly websocket?: Bun.WebSocketHandler<any>;
  /** Operations whose `detail` has `security` need a token; their handlers ask `protect` for it. */
  readonly auth?: Auth;
  /** From then on every reply ends its connection. */
  readonly draining?: () => boolean;
  /** Milliseconds that `stop` waits for replies that are under way (10,000). */
  readonly stopTimeoutMs?: number;
}

export interface ElysiaServerStats {
  readonly requests: number;
  readonly requestsInFlight: number;
  readonly activeConnections: number;
  readonly responses: {
    readonly '1xx': number;
    readonly '2xx': number;
    readonly '3xx': number;
    readonly '4xx': number;
    readonly '5xx': number;
  };
}

export type BunServer = Bun.Server<unknown>;

export interface ElysiaServer {
  /** Routes are added before `listen`. No `body` schema on them: the handlers read their bodies with `readBody`. */
  readonly app: Elysia;
  /** What handlers let requests in by; undefined when the service is open to all. */
  readonly protect: Protect | undefined;
  /** Throws an error with code `port_taken` when somebody else listens there. */
  listen(): Promise<{ url: string; port: number }>;
  /** Throws before `listen`. */
  server(): BunServer;
  /** Takes no new connection, lets replies finish, and closes what is left at the time limit. */
  stop(): Promise<void>;
  /** What a socket would be answered: for tests of routes without one. */
  fetch(request: Request): Promise<Response>;
  /** Counts since the start; `activeConnections` is requests in flight and WebSockets: Bun does not say how many idle ones there are. */
  readonly stats: ElysiaServerStats;
}

const BODY_MEMORY_BYTES_MAX = 256 * 1024 * 1024;
const STOP_TIMEOUT_MS = 10_000;
const STOP_POLL_MS = 50;
const QUIET_POLLS = 2;
/** Sweeps per request timeout: a 408 comes up to a thirtieth early, and costs no timer of its own. */
const SWEEPS_PER_TIMEOUT = 30;
const IDLE_TIMEOUT_SECONDS_MAX = 255;

export function createElysiaServer(options: ElysiaServerOptions): ElysiaServer {
  const { name, version, description, logger } = options;
  // `standardHostname` would have Elysia skip 11 characters before it looks for the path: too many for `http://x/`.
  const app = new Elysia({ name, precompile: true, handler: { standardHostname: false } }) as unknown as Elysia;
  let server: BunServer | undefined;
  let stopping: Promise<void> | undefined;
  const draining = (): boolean => stopping !== undefined || (options.draining?.() ?? false);
  const dispatch = createDispatch({
    route: (request) => app.fetch(request),
    routes: createRouteTable(() => app.routes),
    cors: createCors(options.corsOrigins),
    logger,
    host: createHost(options, () => server),
    draining,
    inFlightMax: options.connectionsMax ?? Number.POSITIVE_INFINITY,
  });
  app.onError({ as: 'global' }, ({ error, request }) => dispatch.replyToError(error, request));
  const hasAuth = options.auth !== undefined;
  app.use(swaggerRoutes({ title: name, version, description, openapi: options.openapi, hasAuth }));

  async function listen(): Promise<{ url: string; port: number }> {
    app.compile();
    server = serve(options, dispatch);
    app.server = server as never;
    const port = server.port as number;
    return { url: `http://${reachableHost(options.hostname)}:${port}`, port };
  }

  function stop(): Promise<void> {
    stopping ??= server === undefined ? Promise.resolve() : drain(server, options.stopTimeoutMs ?? STOP_TIMEOUT_MS);
    return stopping;
  }

  return {
    app,
    protect: options.auth === undefined ? undefined : createProtect(options.auth),
    listen,
    stop,
    fetch: async (request) => dispatch.fetch(request),
    server() {
      if (server === undefined) throw new Error('The server does not listen yet.');
      return server;
    },
    get stats() {
      return statsOf(dispatch, server?.pendingWebSockets ?? 0);
    },
  };
}

function serve(options: ElysiaServerOptions, dispatch: Dispatch): BunServer {
  const { hostname, port, reusePort, websocket, logger } = options;
  try {
    return Bun.serve({
      hostname,
      port,
      reusePort,
      development: false,
      idleTimeout: idleTimeoutSeconds(options.requestTimeoutMs),
      // Limits are the readers' affair: they know the route, and answer with a body.
      maxRequestBodySize: Number.MAX_SAFE_INTEGER,
      fetch: dispatch.fetch,
      error(error: Error) {
        logger.error({ err: error }, 'a reply failed');
        return errorResponse(internalError(error), Bun.randomUUIDv7());
      },
      ...(websocket === undefined ? {} : { websocket }),
    } as Bun.Serve.Options<unknown>) as BunServer;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EADDRINUSE') {
      throw Object.assign(new Error(`Port ${port} is taken by another program.`, { cause: error }), {
        code: 'port_taken',
      });
    }
    throw error;
  }
}

/** What a person on this machine puts in a URL. */
function reachableHost(hostname: string): string {
  if (hostname === '0.0.0.0' || hostname === '::') return 'localhost';
  return hostname.includes(':') ? `[${hostname}]` : hostname;
}

/**
 * Lets replies finish. Bun's own `stop(false)` closes what is idle, but may go on waiting for a connection whose refused body
 * is half sent, with nothing pending: so what is pending decides, asked twice, and the time limit.
 */
async function drain(server: BunServer, timeoutMs: number): Promise<void> {
  let isFinished = false;
  const finished = server.stop(false).then(() => {
    isFinished = true;
  });
  const deadline = performance.now() + timeoutMs;
  let quietPolls = 0;
  while (!isFinished && quietPolls < QUIET_POLLS && performance.now() < deadline) {
    await Promise.race([finished, Bun.sleep(STOP_POLL_MS)]);
    quietPolls = server.pendingRequests + server.pendingWebSockets === 0 ? quietPolls + 1 : 0;
  }
  if (!isFinished) await server.stop(true);
}

/**
 * Bun counts from the last reply, or from the headers, in steps of a clock that ticks every 4 s: n seconds mean n − 4 to n. So
 * 4 could be at once, and 8 is the least. Rounded down, so that headers which trickle in behind an earlier reply end in time;
 * those of a connection's first request have 12 s, whatever is set.
 */
function idleTimeoutSeconds(requestTimeoutMs: number): number {
  const steps = Math.max(2, Math.floor(requestTimeoutMs / 4000));
  return Math.min(IDLE_TIMEOUT_SECONDS_MAX, steps * 4);
}

function createHost(options: ElysiaServerOptions, server: () => BunServer | undefined): RequestHost {
  const bytesMax = options.bodyMemoryBytesMax ?? BODY_MEMORY_BYTES_MAX;
  const idleSeconds = idleTimeoutSeconds(options.requestTimeoutMs);
  let bytes = 0;
  return {
    deadlines: createDeadlines(Math.max(10, Math.floor(options.requestTimeoutMs / SWEEPS_PER_TIMEOUT))),
    reserve(count) {
      if (bytes + count > bytesMax) return false;
      bytes += count;
      return true;
    },
    release(count) {
      bytes -= count;
    },
    setIdleTimeout: (request, seconds) => server()?.timeout(request, seconds),
    resetIdleTimeout: (request) => server()?.timeout(request, idleSeconds),
    address: (request) => server()?.requestIP(request)?.address,
  };
}

function statsOf({ counters }: Dispatch, webSockets: number): ElysiaServerStats {
  const [informed, succeeded, redirected, refused, failed] = counters.byClass;
  return {
    requests: counters.requests,
    requestsInFlight: counters.inFlight,
    activeConnections: counters.inFlight + webSockets,
    responses: { '1xx': informed, '2xx': succeeded, '3xx': redirected, '4xx': refused, '5xx': failed },
  };
}
