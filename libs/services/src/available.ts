/** Which servers tests can have here, and what to do for those that they cannot. */
import { namedKafkaBrokers, namedRedisUrl } from './config.ts';
import { hasJava, hasKafkaJars } from './kafka-install.ts';

export const SERVICE_NAMES = ['redis', 'kafka', 'kcat', 'openssl'] as const;
export type ServiceName = (typeof SERVICE_NAMES)[number];

/** `command` is what a person types to get it. */
export type Availability = { readonly ok: true } | { readonly ok: false; readonly command: string };

export const INSTALL_COMMAND = 'npm run services -- install';

/** Whether a test can start it (`kcat` and `openssl`: run it) on this machine as it is now. */
export function available(name: ServiceName): Availability {
  const has = name === 'kafka' ? hasKafkaJars() && hasJava() : Bun.which(COMMANDS[name]) !== null;
  return has ? { ok: true } : { ok: false, command: INSTALL_COMMAND };
}

const COMMANDS = { redis: 'redis-server', kcat: 'kcat', openssl: 'openssl' } as const;

export interface Needs {
  /** Started by the test itself, which stops, kills or freezes it. */
  readonly start?: readonly ServiceName[];
  /** `useRedis`, `useKafka`: one that the environment names will do. */
  readonly use?: readonly ('redis' | 'kafka')[];
}

/**
 * For `describe.skipIf(lacks({ start: ['redis'] }))`: true when something is missing, and then one line `skipped: …` on
 * stderr says what, and which command would make the tests run.
 */
export function lacks({ start = [], use = [] }: Needs): boolean {
  const named = { redis: namedRedisUrl(), kafka: namedKafkaBrokers() };
  const wanted = new Set<ServiceName>([...start, ...use.filter((name) => named[name] === undefined)]);
  const missing = [...wanted].flatMap((name) => {
    const found = available(name);
    return found.ok ? [] : [{ name, command: found.command }];
  });
  for (const { name, command } of missing) {
    const isNamed = (name === 'redis' || name === 'kafka') && named[name] !== undefined;
    const why = isNamed ? `a ${name} of its own is needed, since the named one may not be stopped` : `no ${name} here`;
    process.stderr.write(`skipped: ${why}; to run these tests: ${command}\n`);
  }
  return missing.length > 0;
}
