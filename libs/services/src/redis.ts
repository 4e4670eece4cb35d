/** A redis-server of one's own. */
import { mkdirSync } from 'node:fs';
import { exchange, freePort } from './ports.ts';
import { type Server, startServer } from './server.ts';

const READY_TIMEOUT_MS = 20_000;
const PROBE_TIMEOUT_MS = 1_000;

export interface RedisOptions {
  /** Default: a free one. */
  readonly port?: number;
  readonly folder?: string;
  /**
   * Directives of redis.conf, such as `{ maxmemory: '2mb', 'maxmemory-policy': 'noeviction' }`, or `{ appendonly: 'yes' }`
   * to keep the keys over a kill. By default nothing is written to disk.
   */
  readonly config?: Readonly<Record<string, string>>;
}

export interface Redis extends Server {
  readonly port: number;
  /** `redis://127.0.0.1:<port>`, with the password when `requirepass` was given. */
  readonly url: string;
}

/** Resolves once it answers. Throws when there is no redis-server: ask `available` first. */
export async function startRedis(options: RedisOptions = {}): Promise<Redis> {
  const password = options.config?.['requirepass'];
  let port = options.port ?? 0;

  const server = await startServer({
    name: 'redis-server',
    folder: options.folder,
    readyTimeoutMs: READY_TIMEOUT_MS,
    async choosePorts() {
      port = options.port ?? (await freePort());
    },
    async prepare(_folder, dataFolder) {
      mkdirSync(dataFolder, { recursive: true });
      const config = { save: '', appendonly: 'no', ...options.config, port, bind: '127.0.0.1', dir: dataFolder };
      return ['redis-server', ...Object.entries(config).flatMap(([name, value]) => [`--${name}`, String(value)])];
    },
    isReady: (pid) => isAnswering(port, password, pid),
  });
  const userInfo = password === undefined ? '' : `:${encodeURIComponent(password)}@`;
  return { ...server, port, url: `redis://${userInfo}127.0.0.1:${port}` };
}

/** Asks who answers, since on a port that was taken meanwhile it would be somebody else's Redis; and INFO answers while it loads. */
async function isAnswering(port: number, password: string | undefined, pid: number): Promise<boolean> {
  const auth = password === undefined ? [] : [['AUTH', password]];
  const commands = [...auth, ['INFO']].map(respCommand).join('');
  const reply = await exchange(
    port,
    Buffer.from(commands),
    (bytes) => /\nloading:\d/.test(bytes.toString()),
    PROBE_TIMEOUT_MS,
  );
  const text = reply?.toString() ?? '';
  return text.includes(`process_id:${pid}\r\n`) && text.includes('\nloading:0');
}

/** The Redis protocol's form of a command: an array of strings with their lengths in bytes. */
function respCommand(words: readonly string[]): string {
  return `*${words.length}\r\n${words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join('')}`;
}
