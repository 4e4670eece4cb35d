/**
 * `npm run services [-- NAME…] [--folder DIR] [--redis-port N] [--kafka-port N] [--clickhouse-port N]` starts real servers in the
 * foreground, prints the settings that make Weir use them, and ends them on Ctrl-C. `npm run services -- install` only gets them.
 */
import { mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { available, installServices, type Server, startKafka, startRedis } from '../libs/services/src/index.ts';

const NAMES = ['redis', 'kafka', 'clickhouse'] as const;
type Name = (typeof NAMES)[number];

const USAGE = `npm run services                     starts ${NAMES.join(', ')}
npm run services -- redis            starts only what is named
npm run services -- install          gets what is missing, and starts nothing
  --folder DIR                       keeps the data there (default: a new folder, removed at the end)
  --redis-port N, --kafka-port N, --clickhouse-port N      default: free ports
clickhouse is the embedded engine behind ClickHouse's HTTP conventions, in a process of its own: real tables and real HTTP,
but no ClickHouse server, which no package registry offers.`;

interface Started {
  readonly name: string;
  readonly server: Pick<Server, 'pid' | 'close'> & Partial<Pick<Server, 'output'>>;
  /** NAME=value for Weir. */
  readonly setting: string;
}

const print = (line: string): void => void process.stdout.write(`${line}\n`);
process.exit(await main(process.argv.slice(2)));

async function main(args: readonly string[]): Promise<number> {
  const options = parse(args);
  if (options === undefined) {
    print(USAGE);
    return 2;
  }
  if (options.install) return (await installServices(print)).length === 0 ? 0 : 1;
  const missing = await installServices(
    print,
    options.names.filter((name) => name !== 'clickhouse'),
  );
  if (missing.length > 0) {
    print(`Cannot be had: ${missing.map((name) => `${name} (${commandFor(name)})`).join(', ')}`);
    return 1;
  }
  const started: Started[] = [];
  try {
    for (const name of options.names) started.push(await start(name, options));
    print(
      `${started.map(({ setting }) => setting).join('\n')}\n\nWeir with them: ${weirLine(started)}\nCtrl-C ends them.`,
    );
    return await untilEnd(started);
  } finally {
    await Promise.all(started.map(({ server }) => server.close()));
  }
}

interface Options {
  readonly install: boolean;
  readonly names: readonly Name[];
  readonly folder: string | undefined;
  readonly ports: Readonly<Record<Name, number | undefined>>;
}

/** Undefined: not understood. */
function parse(args: readonly string[]): Options | undefined {
  const text = { type: 'string' } as const;
  try {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: { folder: text, 'redis-port': text, 'kafka-port': text, 'clickhouse-port': text },
    });
    const install = positionals.length === 1 && positionals[0] === 'install';
    const named = install ? [] : NAMES.filter((name) => positionals.includes(name));
    if (!install && named.length !== positionals.length) return undefined;
    return {
      install,
      names: named.length > 0 ? named : NAMES,
      folder: values.folder === undefined ? undefined : resolve(values.folder),
      ports: {
        redis: portOf(values['redis-port']),
        kafka: portOf(values['kafka-port']),
        clickhouse: portOf(values['clickhouse-port']),
      },
    };
  } catch (error) {
    print(error instanceof Error ? error.message : String(error));
    return undefined;
  }
}

function portOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const port = Number(text);
  if (Number.isInteger(port) && port >= 1 && port <= 65_535) return port;
  throw new Error(`A port is a number from 1 to 65535, not ${text}`);
}

async function start(name: Name, { folder, ports }: Options): Promise<Started> {
  const common = { ...(folder && { folder: ownFolder(folder, name) }), ...(ports[name] && { port: ports[name] }) };
  if (name === 'redis') {
    const server = await startRedis({ ...common, ...(folder && { config: { appendonly: 'yes' } }) });
    return { name, server, setting: `REDIS_URL=${server.url}` };
  }
  if (name === 'clickhouse') {
    // It loads the engine's library, which takes 200 MB.
    const { startClickHouseProcess } = await import('../libs/database/src/testing.ts');
    const server = await startClickHouseProcess(common);
    return { name, server, setting: `CLICKHOUSE_URL=${server.url}` };
  }
  const server = await startKafka(common);
  return { name, server, setting: `KAFKA_BROKERS=${server.brokers}` };
}

function ownFolder(folder: string, name: string): string {
  const own = join(folder, name);
  mkdirSync(own, { recursive: true });
  return own;
}

function weirLine(started: readonly Started[]): string {
  return `${started.map(({ setting }) => setting).join(' ')} npm start`;
}

function commandFor(name: Parameters<typeof available>[0]): string {
  const found = available(name);
  return found.ok ? 'it is there' : found.command;
}

/** 0 after Ctrl-C or SIGTERM; 1 when a server ended by itself. */
async function untilEnd(started: readonly Started[]): Promise<number> {
  const { promise, resolve: end } = Promise.withResolvers<number>();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => end(0));
  const poll = setInterval(() => {
    const gone = started.find(({ server }) => server.pid() === undefined);
    if (gone === undefined) return;
    print(`${gone.name} has ended:\n${gone.server.output?.() ?? ''}`);
    end(1);
  }, 500);
  const code = await promise;
  clearInterval(poll);
  return code;
}
