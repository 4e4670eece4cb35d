/** The pieces that the operations of the API document share. */
import { type OpenApiSchemaName, schemaRef } from '@libs/models';
import { ACK_LEVELS } from '@libs/pipeline';

export const EXAMPLE_REQUEST_ID = '0199c2a4-7b21-7000-8d1e-2f3a4b5c6d7e';

interface ErrorExample {
  readonly error: string;
  readonly message: string;
  readonly details?: Readonly<Record<string, unknown>>;
}

/** A JSON response with a schema of `components.schemas` and an example. */
export function jsonResponse(description: string, schema: OpenApiSchemaName, example: unknown) {
  return { description, content: { 'application/json': { schema: schemaRef(schema), example } } };
}

export function errorResponseOf(description: string, example: ErrorExample) {
  return jsonResponse(description, 'ErrorBody', { ...example, requestId: EXAMPLE_REQUEST_ID });
}

export function withRetryAfter<T extends object>(response: T) {
  return {
    ...response,
    headers: { 'Retry-After': { description: 'Whole seconds, at least 1.', schema: { type: 'integer' as const } } },
  };
}

export const MALFORMED = errorResponseOf('The body is no JSON, or a query parameter has a wrong value.', {
  error: 'malformed_json',
  message: 'Found "}" at byte 17, expected a value.',
  details: { offset: 17 },
});
export const STALLED = errorResponseOf('The body did not arrive in time.', {
  error: 'request_timeout',
  message: 'The body did not arrive within 30000 ms.',
  details: { timeoutMs: 30_000 },
});
export const TOO_LARGE = errorResponseOf('The body is too large, before or after decompression.', {
  error: 'payload_too_large',
  message: 'The body may have 69632 bytes.',
  details: { bytesMax: 69_632 },
});

export function unsupportedType(accepted: readonly string[]) {
  return errorResponseOf('The content type or encoding is not understood; details say what is.', {
    error: 'unsupported_media_type',
    message: `Content-Type must be one of: ${accepted.join(', ')}.`,
    details: { accepted },
  });
}

export const ACK_PARAMETER = {
  name: 'ack',
  in: 'query' as const,
  description:
    'What the reply waits for: journal (on disk), stored (in the database as well) or routed (every other sink is done with it, too: ' +
    'it has the event, or does not take its type). An event that was given up as a dead letter counts as done with. When it takes ' +
    'too long, the reply is 202 and names the level that was reached.',
  schema: { type: 'string' as const, enum: [...ACK_LEVELS], default: 'journal' },
};

export const REQUEST_ID_PARAMETER = {
  name: 'X-Request-Id',
  in: 'header' as const,
  description: 'Names the request in replies and logs; a UUIDv7 when absent.',
  schema: { type: 'string' as const, maxLength: 128 },
};
