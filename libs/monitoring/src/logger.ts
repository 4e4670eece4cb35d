/** Structured logs: one JSON object a line, to stderr. */
import pino from 'pino';
import { type LogDestination, stderrDestination } from './log-destination.ts';

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** Writes one line: the fields, then the message. */
export type LogMethod = (fields: object, message: string) => void;

/**
 * What code needs of a logger. Levels: `info` is what an operator wants to know (start, recovery, shutdown), `debug` is where
 * everything per request belongs, `warn` was handled, `error` needs somebody.
 */
export interface Logger {
  readonly trace: LogMethod;
  readonly debug: LogMethod;
  readonly info: LogMethod;
  readonly warn: LogMethod;
  readonly error: LogMethod;
  readonly fatal: LogMethod;
  isLevelEnabled(level: LogLevel): boolean;
  /** The same logger with these fields in every line (`child({ requestId })`). */
  child(bindings: Record<string, unknown>): Logger;
}

export interface LoggerOptions {
  readonly level: LogLevel;
  /** Which process speaks. */
  readonly name: string;
  /** Default: stderr, synchronous, so that the last line before a crash is there. */
  readonly destination?: LogDestination;
}

/** Field names whose values never reach a log, at the top level and up to two levels down. */
export const SECRET_FIELDS: readonly string[] = [
  'authorization',
  'cookie',
  'set-cookie',
  'password',
  'secret',
  'token',
  'jwt',
  'writeKey',
  'apiKey',
  'x-api-key',
];
export const CENSOR = '[redacted]';

/** A pino logger. Values of `SECRET_FIELDS` are replaced by `[redacted]`, passwords in URLs too; errors keep type, message, stack and cause. */
export function createLogger(options: LoggerOptions): Logger {
  const logger: Logger = pino(
    {
      level: options.level,
      base: { pid: process.pid, name: options.name },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { err: pino.stdSerializers.errWithCause, error: errorField },
      redact: { paths: secretPaths(), censor: CENSOR },
    },
    options.destination ?? stderrDestination(),
  );
  return logger;
}

function errorField(value: unknown): unknown {
  return value instanceof Error ? pino.stdSerializers.errWithCause(value) : value;
}

function secretPaths(): string[] {
  return SECRET_FIELDS.flatMap((name) => [`["${name}"]`, `*["${name}"]`, `*.*["${name}"]`]);
}
