/** What the tests of the shared window share: windows, keys, and a way to give a server orders. */
import { expect } from 'bun:test';
import {
  createSharedWindow,
  parseRedisUrl,
  type SharedWindow,
  type SharedWindowDeps,
  type SharedWindowOptions,
} from '@libs/database/redis';

const PATIENCE_MS = 20_000;
const POLL_MS = 10;

export interface OpenWindow extends AsyncDisposable {
  readonly window: SharedWindow;
  readonly log: string[];
  /** The kinds of the verdicts. */
  kinds(keys: readonly string[]): Promise<string[]>;
  /** As a crash leaves it: nothing is sent any more. */
  crash(): Promise<void>;
}

export async function openWindow(
  url: string,
  over: Partial<SharedWindowOptions> = {},
  deps: Partial<SharedWindowDeps> = {},
): Promise<OpenWindow> {
  const log: string[] = [];
  const write = (fields: object, message: string) => log.push(`${message} ${JSON.stringify(fields)}`);
  const window = createSharedWindow(
    { url, owner: crypto.randomUUID(), epoch: '1', windowMs: 3_600_000, timeoutMs: 2_000, ...over },
    { logger: { info: write, warn: write }, ...deps },
  );
  await window.connect();
  const crash = () => window.close(AbortSignal.abort());
  return {
    window,
    log,
    kinds: async (keys) => (await window.claim(keys)).map(({ kind }) => kind),
    crash,
    [Symbol.asyncDispose]: crash,
  };
}

/** `count` keys that nobody has used. */
export function newKeys(count: number): string[] {
  return Array.from({ length: count }, (_, at) => `store-${at % 7}\0${crypto.randomUUID()}`);
}

/** Polls until it holds; fails the test when it never does. */
export async function eventually(condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadlineMs = performance.now() + PATIENCE_MS;
  while (!(await condition())) {
    if (performance.now() > deadlineMs) expect.unreachable('the condition never held');
    await Bun.sleep(POLL_MS);
  }
}

export const isUp = ({ window }: OpenWindow) => window.health().state === 'healthy';

/** What `promise` gives before the event loop has turned, or `later`. */
export function atOnce<T>(promise: Promise<T>): Promise<T | 'later'> {
  return Promise.race([promise, new Promise<'later'>((resolve) => setImmediate(() => resolve('later')))]);
}

/** An order to the server at this URL, given on a connection of its own. */
export function order(url: string, ...words: readonly string[]): string {
  const { host, port, password } = parseRedisUrl(url);
  const user = password === undefined ? [] : ['--no-auth-warning', '-a', password];
  const { stdout, stderr } = Bun.spawnSync(['redis-cli', '-h', host, '-p', String(port), ...user, ...words]);
  return `${stdout}${stderr}`.trim();
}
