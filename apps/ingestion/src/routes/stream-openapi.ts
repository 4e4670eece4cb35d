/** /events/stream in the API document: the handshake, and the messages by their schemas. */

import { BEARER_SECURITY } from '@libs/elysia-server';
import { schemaRef } from '@libs/models';
import { errorResponseOf, withRetryAfter } from './openapi-responses.ts';

const WEBSOCKET_MESSAGES = {
  fromClient: schemaRef('ClientFrame'),
  fromServer: schemaRef('ServerFrame'),
};

export const STREAM_DETAIL = {
  tags: ['events'],
  security: BEARER_SECURITY,
  summary: 'Stream events over a WebSocket',
  description:
    'A WebSocket handshake. Each message is one JSON object in a text or a binary frame: ClientFrame from the client, ServerFrame ' +
    'from the server. Every event gets one event_ack or one event_error, or, after a subscribe with acks: cumulative, an ' +
    'event_ack with throughSeq speaks for all events up to it. Where a token is needed, a browser, which can send ' +
    'no headers here, gives it as access_token or as the second subprotocol behind bearer. The connection ends (1008, ' +
    'token_expired) when the token expires. Before 1001 and 1013 a message says after how many milliseconds to come back; ' +
    'with resume, hello says how far the events of the last connection got.',
  operationId: 'streamEvents',
  parameters: [
    {
      name: 'access_token',
      in: 'query' as const,
      description: 'The token, in place of the Authorization header.',
      schema: { type: 'string' as const },
    },
    {
      name: 'resume',
      in: 'query' as const,
      description: 'What the hello of the connection before gave as resume; good for a minute after its end.',
      schema: { type: 'string' as const },
    },
  ],
  'x-websocket-messages': WEBSOCKET_MESSAGES,
  responses: {
    '101': { description: 'The connection is a WebSocket; its first message is hello.' },
    '400': errorResponseOf('The handshake is not valid.', {
      error: 'bad_handshake',
      message: 'The WebSocket handshake lacks a valid Sec-WebSocket-Key.',
    }),
    '426': errorResponseOf('The request is no WebSocket handshake.', {
      error: 'upgrade_required',
      message: 'This is a WebSocket endpoint: connect with ws:// or wss://.',
    }),
    '503': withRetryAfter(
      errorResponseOf('There are too many connections, or the service is shutting down.', {
        error: 'overloaded',
        message: 'No further WebSocket connection can be taken now; try again later.',
      }),
    ),
  },
};
