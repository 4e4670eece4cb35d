/** What the environment says about the servers that tests use. Blank means absent. */
import { homedir } from 'node:os';
import { join } from 'node:path';

/** A Redis that exists already, such as `redis://127.0.0.1:6379`; tests put keys into it, but never stop it. */
export function namedRedisUrl(): string | undefined {
  return variable('WEIR_TEST_REDIS_URL');
}

/** Brokers that exist already, such as `127.0.0.1:9092`; tests make topics there, but never stop them. */
export function namedKafkaBrokers(): string | undefined {
  return variable('WEIR_TEST_KAFKA_BROKERS');
}

/** Where downloads stay between runs. */
export function cacheFolder(): string {
  return join(variable('XDG_CACHE_HOME') ?? join(homedir(), '.cache'), 'weir');
}

/** For a child: our environment and what is given. */
export function environmentWith(variables: Readonly<Record<string, string>>): Record<string, string | undefined> {
  return { ...process.env, ...variables };
}

function variable(name: string): string | undefined {
  const value = process.env[name]?.trim();
  return value === '' ? undefined : value;
}
