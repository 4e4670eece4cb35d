/** The clients of the part `many`, against a server that says what a test wants. */
import { afterEach, expect, test } from 'bun:test';
import { createChildren } from '../src/children.ts';
import { type Fleet, startFleet } from '../src/many-fleet.ts';

const SOCKETS = 40;
const POLL_MS = 10;
const TIMEOUT_MS = 60_000;
const HOST = '127.0.0.1';

const children = createChildren();
afterEach(() => children.stopAll(TIMEOUT_MS));

async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await Bun.sleep(POLL_MS);
}

/** Says hello, answers events and heartbeats, and notes the ids and addresses. */
function startServer(port = 0) {
  const ids: string[] = [];
  const addresses = new Set<string>();
  const sockets = new Set<Bun.ServerWebSocket<undefined>>();
  const server = Bun.serve<undefined>({
    hostname: HOST,
    port,
    fetch: (request, self) => (self.upgrade(request) ? undefined : new Response(null, { status: 426 })),
    websocket: {
      open(ws) {
        sockets.add(ws);
        addresses.add(ws.remoteAddress);
        ws.send('{"type":"hello"}');
      },
      message(ws, text) {
        const { type, payload } = JSON.parse(String(text));
        if (type === 'cart_event') ids.push(payload.eventId);
        ws.send(type === 'cart_event' ? '{"type":"event_ack","status":"received"}' : '{"type":"heartbeat_ack"}');
      },
      close: (ws) => void sockets.delete(ws),
    },
  });
  return { port: server.port as number, ids, addresses, sockets, stop: () => server.stop(true) };
}

async function allBack(fleet: Fleet, sockets: ReadonlySet<unknown>): Promise<void> {
  await until(() => sockets.size === SOCKETS && fleet.openSockets() === SOCKETS);
}

test(
  'they open as many as they are told, send in turn, and come back however they were cut off',
  async () => {
    let server = startServer();
    const { port } = server;
    const fleet = startFleet({ host: HOST, port }, SOCKETS, 1, children);
    await fleet.open(10, TIMEOUT_MS);
    expect(server.sockets.size).toBe(10);
    await fleet.open(SOCKETS, TIMEOUT_MS);
    expect([...server.addresses]).toEqual(['127.0.1.1']);

    fleet.pace('events', 200);
    await until(() => server.ids.length >= 5 * SOCKETS);
    fleet.pace('heartbeats', 200);
    const { acks, latenciesMs, attempts, refusals } = await fleet.report();
    expect(acks).toHaveLength(SOCKETS);
    expect(Math.max(...acks) - Math.min(...acks)).toBeLessThanOrEqual(2);
    expect(latenciesMs).toHaveLength(acks.reduce((sum, one) => sum + one, 0));
    expect(new Set(server.ids).size).toBe(server.ids.length);
    expect({ opened: attempts.opened, refusals }).toEqual({ opened: SOCKETS, refusals: {} });

    for (const ws of server.sockets) {
      ws.send('{"type":"going_away","retryAfterMs":300}');
      ws.close(1001);
    }
    await until(() => server.sockets.size === 0);
    await allBack(fleet, server.sockets);
    expect((await fleet.report()).attempts).toMatchObject({
      ended: SOCKETS,
      invited: SOCKETS,
      opened: SOCKETS,
      refused: 0,
    });

    for (const ws of server.sockets) ws.terminate();
    await until(() => server.sockets.size === 0);
    await allBack(fleet, server.sockets);
    expect((await fleet.report()).attempts).toMatchObject({ ended: SOCKETS, invited: 0, opened: SOCKETS });

    await server.stop();
    await until(() => fleet.openSockets() === 0);
    server = startServer(port);
    await allBack(fleet, server.sockets);
    expect((await fleet.report()).attempts).toMatchObject({ ended: SOCKETS, opened: SOCKETS });
    await fleet.stop();
    await server.stop();
  },
  TIMEOUT_MS,
);
