/** A server for tests that only use it: the one that the environment names, else one of their own. */
import { namedKafkaBrokers, namedRedisUrl } from './config.ts';
import { startKafka } from './kafka.ts';
import { startRedis } from './redis.ts';

export interface UsedRedis extends AsyncDisposable {
  readonly url: string;
  close(): Promise<void>;
}

export interface UsedKafka extends AsyncDisposable {
  readonly brokers: string;
  close(): Promise<void>;
}

const nothing = async (): Promise<void> => undefined;

/** WEIR_TEST_REDIS_URL, else a new one. Others may use it too: name keys so that they cannot meet. */
export async function useRedis(): Promise<UsedRedis> {
  const url = namedRedisUrl();
  if (url === undefined) return startRedis();
  return { url, close: nothing, [Symbol.asyncDispose]: nothing };
}

/**
 * WEIR_TEST_KAFKA_BROKERS (`npm test` starts one broker for the whole run and names it there), else a new one. Others use it
 * too: give topics names of their own.
 */
export async function useKafka(): Promise<UsedKafka> {
  const brokers = namedKafkaBrokers();
  if (brokers === undefined) return startKafka();
  return { brokers, close: nothing, [Symbol.asyncDispose]: nothing };
}
