/** The hand-written service as a process: on Node, as people run it, where there is one; else on Bun. */
import { symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { type Peer, type PeerPlan, startPeerProcess } from './peer.ts';

export interface FastifySettings {
  readonly port: number;
  /** `host:port` of one. */
  readonly brokers: string;
  readonly topic: string;
  /** Absent: no duplicates are looked for. */
  readonly redisUrl?: string;
  /** Absent: nothing is stored but in Kafka. */
  readonly clickhouse?: { readonly url: string; readonly table: string };
}

const SOURCE = join(import.meta.dir, 'fastify-service.ts');
const PACKAGES = join(import.meta.dir, '../../node_modules');

/** What the service runs on. */
export const FASTIFY_RUNTIME = Bun.which('node') === null ? 'Bun' : 'Node';

export async function startFastify(
  settings: Omit<FastifySettings, 'port'>,
  plan: Omit<PeerPlan, 'argv' | 'answers'>,
): Promise<Peer> {
  const { children } = plan;
  const node = Bun.which('node');
  const folder = children.makeFolder(undefined, 'weir-bench-fastify-');
  const command = node === null ? [process.execPath, SOURCE] : [node, await build(folder)];
  return startPeerProcess(
    { ...plan, answers: 'exact', argv: (port) => [...command, JSON.stringify({ ...settings, port })] },
    async () => children.removeFolder(folder),
  );
}

/** Node 20 runs no TypeScript. The packages are not bundled: they run as they were installed. */
async function build(folder: string): Promise<string> {
  const { outputs } = await Bun.build({
    entrypoints: [SOURCE],
    outdir: folder,
    naming: 'service.mjs',
    target: 'node',
    packages: 'external',
  });
  symlinkSync(PACKAGES, join(folder, 'node_modules'));
  const [output] = outputs;
  if (output === undefined) throw new Error('the hand-written service was not built');
  return output.path;
}
