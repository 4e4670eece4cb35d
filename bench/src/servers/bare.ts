/**
 * The measure: a server that only parses and replies. What it needs per event is what Bun's HTTP, WebSocket and JSON
 * cost; nothing is checked or kept.
 */
import { announce } from './announce.ts';

interface EventLike {
  readonly eventId: string;
}

/** How many there are: decompressed, split into lines where they come as lines, and parsed. */
async function readEvents(request: Request): Promise<number> {
  if (request.headers.get('content-type') === 'application/x-ndjson') return await countLines(request);
  const encoding = request.headers.get('content-encoding');
  const parsed = encoding === null ? await request.json() : JSON.parse(decompressed(encoding, await request.bytes()));
  return (parsed as { readonly events: readonly EventLike[] }).events.length;
}

function decompressed(encoding: string, bytes: Uint8Array): string {
  return new TextDecoder().decode(
    encoding === 'gzip' ? Bun.gunzipSync(bytes as Uint8Array<ArrayBuffer>) : Bun.zstdDecompressSync(bytes),
  );
}

async function countLines(request: Request): Promise<number> {
  const decoder = new TextDecoder();
  let rest = '';
  let events = 0;
  for await (const chunk of request.body as ReadableStream<Uint8Array>) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n');
    rest = lines.pop() as string;
    for (const line of lines) {
      JSON.parse(line);
      events += 1;
    }
  }
  return events;
}

interface Frame {
  readonly type: string;
  readonly seq?: number;
  readonly payload: EventLike | readonly EventLike[];
}

const server = Bun.serve<{ isCumulative: boolean }>({
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
      const events = await readEvents(request);
      return Response.json({ totalEvents: events, successful: events }, { status: 202 });
    }
    if (request.url.endsWith('/events/stream') && self.upgrade(request, { data: { isCumulative: false } }))
      return undefined;
    return new Response('not found', { status: 404 });
  },
  websocket: {
    message(socket, message) {
      const { type, seq = 0, payload } = JSON.parse(message as string) as Frame;
      if (type === 'subscribe') {
        socket.data.isCumulative = true;
        return;
      }
      if (socket.data.isCumulative) {
        const last = seq + (Array.isArray(payload) ? payload.length : 1) - 1;
        socket.send(`{"type":"event_ack","throughSeq":${last}}`);
        return;
      }
      const send = ({ eventId }: EventLike) =>
        socket.send(`{"type":"event_ack","eventId":"${eventId}","status":"received"}`);
      // Messages that are sent while one is handled leave together.
      if (Array.isArray(payload)) payload.forEach(send);
      else send(payload as EventLike);
    },
  },
});

announce(server.port as number);
