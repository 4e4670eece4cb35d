/** A server as the measurements see it, and the small ones that the bench brings along. */
import { join } from 'node:path';
import type { Children } from './children.ts';
import type { Pinning } from './pinning.ts';
import type { NamedProcess } from './processes.ts';
import type { Listening } from './servers/announce.ts';

export const HOST = '127.0.0.1';

export interface ServerUnderTest {
  readonly name: string;
  /** `exact`: as Weir documents it, with the counts of a batch and the status of each event; `plain`: 202, or one ack per event. */
  readonly answers: 'exact' | 'plain';
  readonly host: string;
  readonly port: number;
  /** As they are now: a process that was restarted has another pid. */
  processes(): NamedProcess[];
  /** Servers that it uses and that are no part of it, such as Redis: their CPU time is shown apart. */
  companions(): NamedProcess[];
  /** Events that are acknowledged but not stored yet; NaN while that is not known of `sinceMs` (of `performance.now()`) or later. */
  pendingEvents(sinceMs?: number): Promise<number>;
  stop(): Promise<void>;
}

const START_TIMEOUT_MS = 20_000;
const STOP_TIMEOUT_MS = 5_000;

export async function startSmallServer(
  file: 'bare' | 'fixed' | 'steps',
  children: Children,
  pinning: Pinning,
  { name = file, args = [] }: { readonly name?: string; readonly args?: readonly string[] } = {},
): Promise<ServerUnderTest> {
  const listening = Promise.withResolvers<number>();
  const child = children.spawn({
    argv: [process.execPath, join(import.meta.dir, 'servers', `${file}.ts`), ...args],
    onMessage: (message) => listening.resolve((message as Listening).port),
  });
  const timer = setTimeout(() => listening.reject(new Error(`the ${name} server did not start`)), START_TIMEOUT_MS);
  void child.exited.then((code) =>
    listening.reject(new Error(`the ${name} server ended (${code}): ${child.lastWords()}`)),
  );
  const port = await listening.promise.finally(() => clearTimeout(timer));
  pinning.place(name, child.pid);
  return {
    name,
    answers: 'plain',
    host: HOST,
    port,
    processes: () => [{ name, pid: child.pid }],
    companions: () => [],
    pendingEvents: async () => 0,
    stop: () => child.stop(STOP_TIMEOUT_MS),
  };
}
