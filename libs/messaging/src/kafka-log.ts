/** Where kafkajs's own log goes: to our debug level, and each message once in a while, not once an attempt. */
import { type logCreator, logLevel } from 'kafkajs';

/** pino fits. */
export interface KafkaLogger {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** The same message again within this time is only counted. */
const QUIET_MS = 10_000;
/** Different messages that are remembered; all are forgotten when there are more. */
const MESSAGES_MAX = 200;

/** What it calls errors are mostly attempts that it repeats by itself: what counts is what `send` throws. */
export function createKafkaLog(logger: KafkaLogger, nowMs: () => number): logCreator {
  const seen = new Map<string, { untilMs: number; repeated: number }>();
  return () =>
    ({ namespace, level, log }) => {
      const key = `${namespace}\n${log.message}`;
      const known = seen.get(key);
      if (known !== undefined && nowMs() < known.untilMs) {
        known.repeated++;
        return;
      }
      if (seen.size >= MESSAGES_MAX) seen.clear();
      seen.set(key, { untilMs: nowMs() + QUIET_MS, repeated: 0 });
      const { message, timestamp: _timestamp, logger: _logger, stack: _stack, ...fields } = log;
      const repeated = known?.repeated ? { repeated: known.repeated } : {};
      logger.debug({ ...fields, ...repeated, namespace, kafkajsLevel: logLevel[level] }, `kafkajs: ${message}`);
    };
}
