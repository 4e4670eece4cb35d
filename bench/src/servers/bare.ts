/**
 * The measure: a server that only parses and replies. What it needs per event is what Bun's HTTP, WebSocket and JSON
 * cost; nothing is checked or kept.
 */
import { announce } from './announce.ts';

interface EventLike {
  readonly eventId: string;
}

const server = Bun.serve({
  hostname: '127.0.0.1',
  port: 0,
  development: false,
  reusePort: false,
  async fetch(request, self) {
    if (request.url.endsWith('/events')) {
      const { eventId } = (await request.json()) as EventLike;
      return Response.json({ eventId, status: 'accepted' }, { status: 202 });
    }
    if (request.url.endsWith('/events/batch')) {
      const { events } = (await request.json()) as { readonly events: readonly EventLike[] };
      return Response.json({ totalEvents: events.length, successful: events.length }, { status: 202 });
    }
    if (request.url.endsWith('/events/stream') && self.upgrade(request)) return undefined;
    return new Response('not found', { status: 404 });
  },
  websocket: {
    message(socket, message) {
      const { payload } = JSON.parse(message as string) as { readonly payload: EventLike };
      socket.send(`{"type":"event_ack","eventId":"${payload.eventId}","status":"received"}`);
    },
  },
});

announce(server.port as number);
