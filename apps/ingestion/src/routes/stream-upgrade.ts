/** The handshake of `/events/stream`, and why it is refused. */
import type { Principal } from '@libs/auth';
import { errorResponse, HttpError, requestIdOf } from '@libs/elysia-server';
import type { Server } from 'bun';
import { queryOf } from './parameters.ts';
import { StreamConnection } from './stream-connection.ts';
import { isToken } from './stream-session.ts';

/** No metadata field is longer; what is held for every connection must not be as long as a header may be. */
const HEADER_CHARS_MAX = 2_048;

export interface UpgradeDeps {
  readonly hasRoom: () => boolean;
  /** When a client that is refused should try again: another number for each. */
  readonly retryAfterMs: () => number;
}

export function createUpgrade({ hasRoom, retryAfterMs }: UpgradeDeps) {
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
    if (!hasRoom()) return refuse(request, noRoom(retryAfterMs()));
    connections += 1;
    const data = new StreamConnection(
      processName,
      connections,
      bounded(headers.get('user-agent')),
      bounded(headers.get('referer')),
      principal,
      resumeOf(request.url),
    );
    return server.upgrade(request, { data }) ? undefined : refuse(request, BAD_HANDSHAKE);
  };
}

/** A slice would keep the whole text in memory. */
function bounded(text: string | null): string | undefined {
  if (text === null || text === '') return undefined;
  return text.length <= HEADER_CHARS_MAX ? text : Buffer.from(text.slice(0, HEADER_CHARS_MAX)).toString();
}

/** `?resume=`: undefined when there is none, empty when it cannot be a token. */
function resumeOf(url: string): string | undefined {
  if (!url.includes('resume=')) return undefined;
  const token = new URLSearchParams(queryOf(url)).get('resume');
  return token === null || isToken(token) ? (token ?? undefined) : '';
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

function noRoom(retryAfterMs: number): HttpError {
  const message = 'No further WebSocket connection can be taken now; try again later.';
  const seconds = Math.ceil(retryAfterMs / 1_000);
  return new HttpError(503, 'overloaded', message, { headers: { 'retry-after': String(seconds) } });
}
