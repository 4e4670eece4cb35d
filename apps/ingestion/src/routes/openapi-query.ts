/** /query in the API document. */
import { BEARER_SECURITY } from '@libs/elysia-server';
import { errorResponseOf, STALLED, TOO_LARGE, withRetryAfter } from './openapi-responses.ts';

const EXAMPLE_SQL = 'SELECT eventType, count() FROM events GROUP BY eventType FORMAT JSON';
const TEXT = { type: 'string' as const };

const SHARED = {
  tags: ['query'],
  security: BEARER_SECURITY,
  description:
    "Read-only SQL over the tables raw_events and events, by the conventions of ClickHouse's HTTP interface: the query as " +
    '?query= or as the body (given both, the body follows the parameter), FORMAT or X-ClickHouse-Format for the format, ' +
    'param_name for {name:Type}. One SELECT, WITH, SHOW, DESCRIBE, EXPLAIN or EXISTS statement, limited in time, memory and rows. Where a token is needed, it may also be the ' +
    'password of Basic, for clients that speak nothing else.',
};

const PARAMETERS = [
  { name: 'query', in: 'query' as const, description: 'The statement.', schema: TEXT, example: EXAMPLE_SQL },
  { name: 'default_format', in: 'query' as const, description: 'The format without FORMAT.', schema: TEXT },
];

const RESPONSES = {
  '200': {
    description: 'The rows, in the format that was asked for (TabSeparated by default).',
    headers: {
      'X-ClickHouse-Summary': { description: 'What was read, as JSON.', schema: TEXT },
      'X-ClickHouse-Format': { description: 'The format of the body.', schema: TEXT },
    },
    content: {
      'text/tab-separated-values': { schema: TEXT, example: 'cart_updated\t12\n' },
      'application/json': { schema: { type: 'object' as const } },
      'application/octet-stream': { schema: { type: 'string' as const, format: 'binary' } },
    },
  },
  '400': {
    description: 'The statement is wrong or not allowed; the text begins with the exception code of ClickHouse.',
    headers: { 'X-ClickHouse-Exception-Code': { description: 'Its number.', schema: { type: 'integer' as const } } },
    content: { 'text/plain': { schema: TEXT, example: 'Code: 62. DB::Exception: Syntax error' } },
  },
  '503': withRetryAfter(
    errorResponseOf('Queries are not answered at the moment; events are still accepted.', {
      error: 'deliver_unreachable',
      message: 'Queries are not answered at the moment; events are still accepted. Try again shortly.',
      details: { retryAfterMs: 1000 },
    }),
  ),
};

export const QUERY_GET_DETAIL = {
  ...SHARED,
  summary: 'Ask the store',
  operationId: 'getQuery',
  parameters: PARAMETERS,
  responses: RESPONSES,
};

export const QUERY_POST_DETAIL = {
  ...SHARED,
  summary: 'Ask the store, with the query in the body',
  operationId: 'postQuery',
  parameters: PARAMETERS,
  requestBody: { content: { 'text/plain': { schema: TEXT, example: EXAMPLE_SQL } } },
  responses: { ...RESPONSES, '408': STALLED, '413': TOO_LARGE },
};
