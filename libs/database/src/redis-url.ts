/** REDIS_URL, checked: what is wrong with it is said in a sentence that never shows the password. */
import { Permanent } from '@libs/pipeline';

export interface RedisAddress {
  readonly host: string;
  readonly port: number;
  readonly db: number;
  readonly username?: string;
  readonly password?: string;
  readonly isTls: boolean;
}

const FORM = 'redis://[user:password@]host[:port][/database], or rediss:// for TLS';
const DEFAULT_PORT = 6379;

/** What is wrong with a URL, as a sentence without its end; undefined when it will do. */
export function redisUrlProblem(text: string): string | undefined {
  try {
    parseRedisUrl(text);
    return undefined;
  } catch (error) {
    if (error instanceof Permanent) return error.message;
    throw error;
  }
}

/** Throws `Permanent` (`redis_url_invalid`). */
export function parseRedisUrl(text: string): RedisAddress {
  if (!URL.canParse(text)) throw invalid('is no URL');
  const url = new URL(text);
  if (url.protocol !== 'redis:' && url.protocol !== 'rediss:') throw invalid(`begins with ${url.protocol}//`);
  if (url.hostname === '') throw invalid('names no host');
  if (url.search !== '' || url.hash !== '') throw invalid('has a query or a fragment, which mean nothing here');
  const database = /^\/?(\d{0,5})$/.exec(url.pathname)?.[1];
  if (database === undefined) throw invalid('has a path that is no database number');
  return {
    host: url.hostname.replace(/^\[(.*)\]$/, '$1'),
    port: url.port === '' ? DEFAULT_PORT : Number(url.port),
    db: Number(database),
    ...(url.username === '' ? {} : { username: decode(url.username) }),
    ...(url.password === '' ? {} : { password: decode(url.password) }),
    isTls: url.protocol === 'rediss:',
  };
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch (error) {
    throw invalid('has a user or password that is not percent-encoded', error);
  }
}

function invalid(problem: string, cause?: unknown): Permanent {
  return new Permanent('redis_url_invalid', `the Redis URL ${problem}; it must look like ${FORM}`, { cause });
}
