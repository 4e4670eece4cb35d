/** Reads the query string. Unknown parameters are ignored; known ones with a wrong value are refused by name. */
import { HttpError } from '@libs/elysia-server';
import { ACK_LEVELS, type AckLevel } from '@libs/pipeline';

export interface BatchParameters {
  readonly ack: AckLevel;
  readonly maxSize?: number;
  readonly failOnError?: boolean;
}

/** `?ack=`; `journal` when there is none. Costs one search of the URL when there is no query string. */
export function readAck(url: string): AckLevel {
  const query = queryOf(url);
  if (query === '') return 'journal';
  return ackIn(new URLSearchParams(query));
}

/** `?ack=`, `?maxSize=` (a whole number from 1) and `?failOnError=` (`true` or `false`). */
export function readBatchParameters(url: string): BatchParameters {
  const query = queryOf(url);
  if (query === '') return { ack: 'journal' };
  const parameters = new URLSearchParams(query);
  const maxSize = maxSizeIn(parameters);
  const failOnError = failOnErrorIn(parameters);
  return {
    ack: ackIn(parameters),
    ...(maxSize === undefined ? {} : { maxSize }),
    ...(failOnError === undefined ? {} : { failOnError }),
  };
}

/** The query string without `?`; empty when there is none. */
export function queryOf(url: string): string {
  const start = url.indexOf('?');
  return start < 0 ? '' : url.slice(start + 1);
}

function ackIn(parameters: URLSearchParams): AckLevel {
  const text = parameters.get('ack');
  if (text === null) return 'journal';
  const level = ACK_LEVELS.find((known) => known === text);
  if (level === undefined) throw invalid('ack', `one of ${ACK_LEVELS.join(', ')}`, [...ACK_LEVELS]);
  return level;
}

function maxSizeIn(parameters: URLSearchParams): number | undefined {
  const text = parameters.get('maxSize');
  if (text === null) return undefined;
  const value = Number(text);
  if (!/^[0-9]+$/.test(text) || !Number.isSafeInteger(value) || value < 1) {
    throw invalid('maxSize', 'a whole number from 1', ['1, 2, 3, …']);
  }
  return value;
}

function failOnErrorIn(parameters: URLSearchParams): boolean | undefined {
  const text = parameters.get('failOnError');
  if (text === null) return undefined;
  if (text !== 'true' && text !== 'false') throw invalid('failOnError', 'true or false', ['true', 'false']);
  return text === 'true';
}

function invalid(parameter: string, allowedText: string, allowed: readonly string[]): HttpError {
  return new HttpError(400, 'invalid_parameter', `The query parameter ${parameter} must be ${allowedText}.`, {
    details: { parameter, allowed },
  });
}
