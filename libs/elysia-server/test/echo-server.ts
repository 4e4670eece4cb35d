/** A small service on the library, for the tests: what a real one does, without a journal. */
import { createLogger } from '@libs/monitoring';
import {
  allowTime,
  clientAddressOf,
  createElysiaServer,
  type ElysiaServer,
  type ElysiaServerOptions,
  queryOf,
  readBody,
  streamBody,
} from '../src/index.ts';

export interface EchoServer {
  readonly server: ElysiaServer;
  readonly port: number;
  readonly url: string;
  /** The log, one object a line. */
  readonly log: Record<string, unknown>[];
  /** Bodies that reached a handler. */
  readonly bodies: string[];
  /** Lets every waiting `/held` reply go. */
  release(): void;
  /** Resolves once this many `/held` requests wait. */
  held(count: number): Promise<void>;
}

export const BODY_BYTES_MAX = 100_000;

/** `addMore` adds routes of a test's own. */
export async function startEcho(
  options: Partial<ElysiaServerOptions> = {},
  addMore: (server: ElysiaServer) => void = () => {},
): Promise<EchoServer> {
  const log: Record<string, unknown>[] = [];
  const bodies: string[] = [];
  const server = createElysiaServer({
    name: 'Echo',
    version: '1.2.3',
    description: 'Answers with what it got.',
    hostname: '127.0.0.1',
    port: 0,
    reusePort: false,
    requestTimeoutMs: 1000,
    corsOrigins: [],
    logger: createLogger({
      level: 'debug',
      name: 'echo',
      destination: { write: (line) => log.push(JSON.parse(line)) },
    }),
    openapi: {},
    ...options,
  });
  const held = addHeldRoute(server);
  addRoutes(server, bodies, options.requestTimeoutMs ?? 1000);
  addMore(server);
  const { port, url } = await server.listen();
  return { server, port, url, log, bodies, ...held };
}

const OK = { responses: { '200': { description: 'What was sent.' } } };

function addRoutes(server: ElysiaServer, bodies: string[], timeoutMs: number): void {
  const { app } = server;
  app.get('/hello', () => new Response('hello'), { detail: OK });
  app.get('/query', ({ request }) => new Response(queryOf(request).get('a')), { detail: OK });
  app.get('/things/:id', ({ params }) => new Response(params.id), { detail: OK });
  app.get('/broken', () => Promise.reject(new Error('the secret of /etc/passwd')), { detail: OK });
  app.get('/broken-now', () => {
    throw new TypeError('another secret');
  });
  app.post(
    '/echo',
    async ({ request }) => {
      const body = new TextDecoder().decode(await readBody(request, { bytesMax: BODY_BYTES_MAX, timeoutMs }));
      bodies.push(body);
      return new Response(body);
    },
    { detail: OK },
  );
  app.post(
    '/count',
    async ({ request }) => {
      let bytes = 0;
      for await (const chunk of streamBody(request, { timeoutMs, chunkBytesMax: 64 * 1024 })) bytes += chunk.length;
      return new Response(String(bytes));
    },
    { detail: OK },
  );
  app.get('/address', ({ request }) => new Response(clientAddressOf(request)), { detail: OK });
  app.post('/late', async ({ request }) => {
    const body = await readBody(request, { bytesMax: BODY_BYTES_MAX, timeoutMs: 60_000 });
    return new Response(`late ${body.length}`);
  });
  app.get('/numbers', () => new Response(numbers()));
  app.post('/unread', () => new Response('no, thanks', { status: 403 }));
  app.get('/socket', ({ request }) => {
    if (server.server().upgrade(request, { data: {} })) return;
    return new Response('not a socket', { status: 426 });
  });
}

/** 20 MB, made as they are read. */
function numbers(): ReadableStream<Uint8Array> {
  let count = 0;
  return new ReadableStream({
    pull(controller) {
      controller.enqueue(Buffer.alloc(20_000, String(count)));
      count += 1;
      if (count === 1000) controller.close();
    },
  });
}

/** A reply that waits until the test lets it go. */
function addHeldRoute({ app }: ElysiaServer): Pick<EchoServer, 'release' | 'held'> {
  let waiting: (() => void)[] = [];
  const watchers: { readonly count: number; readonly resolve: () => void }[] = [];
  app.post('/held/:name', async ({ params, request }) => {
    await readBody(request, { bytesMax: BODY_BYTES_MAX, timeoutMs: 1000 });
    if (params.name === 'patient') allowTime(request, 60_000);
    const gone = new Promise<void>((resolve) => waiting.push(resolve));
    for (const watcher of watchers) if (waiting.length >= watcher.count) watcher.resolve();
    await gone;
    return new Response(`held ${params.name}`);
  });
  return {
    release() {
      const released = waiting;
      waiting = [];
      for (const go of released) go();
    },
    held: (count) =>
      new Promise((resolve) => {
        if (waiting.length >= count) resolve();
        else watchers.push({ count, resolve });
      }),
  };
}
