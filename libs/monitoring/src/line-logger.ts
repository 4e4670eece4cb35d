/**
 * The same lines as `createLogger`, without pino: for a process whose memory is pure overhead (pino costs about 8 MB).
 * Imported as `@libs/monitoring/line-logger`, so that neither pino nor prom-client is loaded.
 */
import { type LogDestination, stderrDestination } from './log-destination.ts';
import type { Logger, LoggerOptions, LogLevel, LogMethod } from './logger.ts';

export { fileDescriptorDestination, type LogDestination } from './log-destination.ts';
export type { Logger, LoggerOptions, LogLevel } from './logger.ts';

const SEVERITY: Readonly<Record<LogLevel, number>> = {
  trace: 10,
  debug: 20,
  info: 30,
  warn: 40,
  error: 50,
  fatal: 60,
  silent: Number.POSITIVE_INFINITY,
};

/** Fields must be plain JSON values or errors and hold no secrets: nothing is redacted but passwords in URLs. */
export function createLineLogger(options: LoggerOptions): Logger {
  const destination = options.destination ?? stderrDestination();
  return lineLogger(options.level, destination, { pid: process.pid, name: options.name });
}

function lineLogger(level: LogLevel, destination: LogDestination, base: Record<string, unknown>): Logger {
  function method(name: Exclude<LogLevel, 'silent'>): LogMethod {
    if (SEVERITY[name] < SEVERITY[level]) return () => undefined;
    return (fields, message) => {
      const line = { level: name, time: new Date().toISOString(), ...base, ...fields, msg: message };
      destination.write(`${JSON.stringify(line, plain)}\n`);
    };
  }
  return {
    trace: method('trace'),
    debug: method('debug'),
    info: method('info'),
    warn: method('warn'),
    error: method('error'),
    fatal: method('fatal'),
    isLevelEnabled: (asked) => asked !== 'silent' && SEVERITY[asked] >= SEVERITY[level],
    child: (bindings) => lineLogger(level, destination, { ...base, ...bindings }),
  };
}

/** JSON.stringify would write an error as `{}`. */
function plain(_key: string, value: unknown): unknown {
  return value instanceof Error ? { type: value.name, message: value.message, stack: value.stack } : value;
}
