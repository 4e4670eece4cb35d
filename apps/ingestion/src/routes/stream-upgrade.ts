/** The handshake of `/events/stream`, and why it is refused. */
import type { Principal } from '@libs/auth';
import { errorResponse, HttpError, requestIdOf } from '@libs/elysia-server';
import type { Server } from 'bun';
import { StreamConnection } from './stream-connection.ts';

/** No metadata field is longer; what is held for every connection must not be as long as a header may be. */
const HEADER_CHARS_MAX = 2_048;
const RETRY_AFTER_SECONDS = '5';

export function createUpgrade({ hasRoom }: { readonly hasRoom: () => boolean }) {
  // Connections of several processes meet in one log.
  const processName = crypto.randomUUID().slice(0, 8);
  let connections = 0;

  return function upgrade(
    request: Request,
    server: Server<StreamConnection>,
    principal?: Principal,
  ): Response | undefined {
    const { headers } = request;
    if (headers.get('upgrade')?.toLowerCase() !== 'websocket') return refuse(request, UPGRADE_REQUIRED);
    if (!hasRoom()) return refuse(request, NO_ROOM);
    connections += 1;
    const data = new StreamConnection(
      processName,
      connections,
      bounded(headers.get('user-agent')),
      bounded(headers.get('referer')),
      principal,
    );
    return server.upgrade(request, { data }) ? undefined : refuse(request, BAD_HANDSHAKE);
  };
}

/** A slice would keep the whole text in memory. */
function bounded(text: string | null): string | undefined {
  if (text === null || text === '') return undefined;
  return text.length <= HEADER_CHARS_MAX ? text : Buffer.from(text.slice(0, HEADER_CHARS_MAX)).toString();
}

function refuse(request: Request, reason: HttpError): Response {
  return errorResponse(reason, requestIdOf(request));
}

const UPGRADE_REQUIRED = new HttpError(
  426,
  'upgrade_required',
  'This is a WebSocket endpoint: connect with ws:// or wss://.',
  { headers: { upgrade: 'websocket', connection: 'Upgrade' } },
);

const BAD_HANDSHAKE = new HttpError(400, 'bad_handshake', 'The WebSocket handshake lacks a valid Sec-WebSocket-Key.');

const NO_ROOM = new HttpError(503, 'overloaded', 'No further WebSocket connection can be taken now; try again later.', {
  headers: { 'retry-after': RETRY_AFTER_SECONDS },
});
