/** The stream behind the server that the service really runs on. */
import { expect, test } from 'bun:test';
import { createElysiaServer } from '@libs/elysia-server';
import { createEventModel, DEFAULT_EVENT_LIMITS, openApiSchemas } from '@libs/models';
import { createLogger } from '@libs/monitoring';
import { createCounters } from '../src/routes/counters.ts';
import { createStream, streamRoutes } from '../src/routes/stream.ts';
import { cartEvent, connect, createFakeIngestion, event, LIMITS, turnOver } from './stream-testing.ts';

async function startServer() {
  const fake = createFakeIngestion();
  const log: string[] = [];
  const logger = createLogger({ level: 'debug', name: 'test', destination: { write: (line) => void log.push(line) } });
  const stream = createStream({
    ingestion: fake.ingestion,
    turn: turnOver(fake.ingestion.accept),
    limits: LIMITS,
    counters: createCounters(),
    logger,
  });
  const server = createElysiaServer({
    name: 'test',
    version: '0.0.0',
    description: 'test',
    hostname: '127.0.0.1',
    port: 0,
    reusePort: false,
    requestTimeoutMs: 5_000,
    corsOrigins: [],
    logger,
    openapi: { components: { schemas: openApiSchemas(createEventModel({ limits: DEFAULT_EVENT_LIMITS })) } },
    websocket: stream.websocket,
  });
  streamRoutes(server, stream);
  const { port } = await server.listen();
  return { fake, log, stream, server, http: `http://127.0.0.1:${port}`, ws: `ws://127.0.0.1:${port}/events/stream` };
}

test('the handshake goes through the route; other requests to it get proper answers', async () => {
  const { http, ws, stream, server, log } = await startServer();
  const client = await connect(ws);
  client.send(cartEvent(event('e-1'), { seq: 1 }));
  expect(await client.until('event_ack')).toMatchObject([{ eventId: 'e-1', seq: 1, status: 'received' }]);

  const plain = await fetch(`${http}/events/stream`);
  expect(plain.status).toBe(426);
  expect(await plain.json()).toMatchObject({ error: 'upgrade_required' });
  expect((await fetch(`${http}/events/stream`, { method: 'POST' })).status).toBe(405);
  const nowhere = new WebSocket(`${http.replace('http', 'ws')}/events/nowhere`);
  expect(await new Promise((resolve) => nowhere.addEventListener('close', () => resolve('closed')))).toBe('closed');

  await stream.closeAll(1001, 'bye');
  await server.stop();
  expect(await client.closed).toEqual({ code: 1001, reason: 'bye' });
  expect(log.filter((line) => line.includes('"error"'))).toEqual([]);
});

test('the API document describes the handshake and names the messages', async () => {
  const { http, server, stream } = await startServer();
  const document = (await (await fetch(`${http}/swagger/json`)).json()) as {
    paths: Record<string, Record<string, Record<string, unknown>>>;
  };
  const operation = document.paths['/events/stream']?.['get'];
  expect(operation).toMatchObject({
    operationId: 'streamEvents',
    'x-websocket-messages': { fromClient: { $ref: '#/components/schemas/ClientFrame' } },
  });
  await stream.closeAll(1001, 'bye');
  await server.stop();
});
