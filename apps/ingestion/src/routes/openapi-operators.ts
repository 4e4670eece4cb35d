/** The pieces that the operators' part of the API document shares. */
import { BEARER_SECURITY } from '@libs/elysia-server';
import { errorResponseOf, withRetryAfter } from './openapi-responses.ts';

export const OPERATED = { tags: ['operators'], security: BEARER_SECURITY };

/** A query parameter; what it may be is in its schema. */
export function queryParameter(name: string, description: string, schema: object) {
  return { name, in: 'query' as const, description, schema: schema as { readonly type: 'string' } };
}

export function pathParameter(name: string, description: string, schema: object) {
  return { name, in: 'path' as const, required: true, description, schema: schema as { readonly type: 'string' } };
}

export const TEXT = { type: 'string' };
export const COUNT = { type: 'integer', minimum: 0 };
export const TIME = { type: 'string', format: 'date-time' };

/** An object whose properties, but for those named in `optional`, are all there. */
export function objectOf(properties: Readonly<Record<string, object>>, optional: readonly string[] = []) {
  return { type: 'object', required: Object.keys(properties).filter((name) => !optional.includes(name)), properties };
}

export function reply(description: string, schema: object, example: unknown) {
  return { description, content: { 'application/json': { schema: schema as { readonly type: 'object' }, example } } };
}

export const INVALID = errorResponseOf('A parameter is wrong, not known, or missing.', {
  error: 'invalid_parameter',
  message: 'The query parameter stroeId is not known here.',
  details: { parameter: 'stroeId', allowed: ['sink', 'eventType', 'storeId'] },
});

/** Deliver answers all of this, and may be away, busy or slow. */
export const DELIVER_ERRORS = {
  '503': withRetryAfter(
    errorResponseOf('The process that knows this is away for the moment; events are still accepted.', {
      error: 'deliver_unreachable',
      message: 'The process that knows this is being started again. Try again shortly.',
      details: { retryAfterMs: 1000 },
    }),
  ),
  '504': errorResponseOf('It did not answer in time; what was begun may go on.', {
    error: 'deliver_timeout',
    message: 'There was no answer within 30000 ms; what was begun may go on.',
    details: { timeoutMs: 30_000 },
  }),
};
