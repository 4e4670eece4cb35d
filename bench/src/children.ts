/** Every process that the bench starts and every folder that it makes, so that none outlives it. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Subprocess } from 'bun';
import { serverEnvironment } from './config.ts';

export interface ChildOptions {
  readonly argv: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly onMessage?: (message: unknown) => void;
}

export interface Child {
  readonly pid: number;
  /** The exit code; resolves when the process has ended. */
  readonly exited: Promise<number>;
  /** The last of what it wrote to stderr. */
  lastWords(): string;
  /** Asks it to end and waits for it; kills it after `timeoutMs`. */
  stop(timeoutMs: number): Promise<void>;
  kill(): void;
  /** To a child that was spawned with `onMessage`. */
  send(message: unknown): void;
}

export interface Closable {
  close(): Promise<void>;
}

export interface Children {
  /** Throws once `stopAll` was called. */
  spawn(options: ChildOptions): Child;
  /** A new folder in `parent`, or where the system keeps temporary ones. */
  makeFolder(parent: string | undefined, prefix: string): string;
  removeFolder(folder: string): void;
  /** A server that was started otherwise: `stopAll` closes it, unless `close` of what is returned was called before. */
  adopt(server: Closable): Closable;
  /** Ends all that run, the last one first, each by its pid; then removes the folders. */
  stopAll(timeoutMs: number): Promise<void>;
}

const LAST_WORDS_CHARS = 4_000;

export function createChildren(): Children {
  const running = new Set<Child>();
  const folders = new Set<string>();
  const adopted = new Set<Closable>();
  let isStopping = false;

  function removeFolder(folder: string): void {
    rmSync(folder, { recursive: true, force: true });
    folders.delete(folder);
  }

  return {
    spawn({ argv, env, onMessage }) {
      if (isStopping) throw new Error('the bench is ending');
      const subprocess = Bun.spawn([...argv], {
        env: serverEnvironment(env ?? {}),
        stdio: ['ignore', 'ignore', 'pipe'],
        ...(onMessage === undefined ? {} : { ipc: (message: unknown) => onMessage(message) }),
      });
      const child = childOf(subprocess);
      running.add(child);
      void child.exited.then(() => running.delete(child));
      return child;
    },
    makeFolder(parent, prefix) {
      const folder = mkdtempSync(join(parent ?? tmpdir(), prefix));
      folders.add(folder);
      return folder;
    },
    removeFolder,
    adopt(server) {
      adopted.add(server);
      return {
        close() {
          adopted.delete(server);
          return server.close();
        },
      };
    },
    async stopAll(timeoutMs) {
      isStopping = true;
      for (const child of [...running].reverse()) await child.stop(timeoutMs);
      for (const server of [...adopted]) await server.close();
      for (const folder of [...folders]) removeFolder(folder);
    },
  };
}

function childOf(subprocess: Subprocess<'ignore', 'ignore', 'pipe'>): Child {
  let words = '';
  const heard = collect();

  async function collect(): Promise<void> {
    const decoder = new TextDecoder();
    for await (const chunk of subprocess.stderr) {
      words = (words + decoder.decode(chunk, { stream: true })).slice(-LAST_WORDS_CHARS);
    }
  }

  const exited = subprocess.exited.then(async (code) => {
    // A grandchild may keep the pipe open: what has been heard by now is enough.
    await Promise.race([heard, Bun.sleep(200)]);
    return code;
  });
  return {
    pid: subprocess.pid,
    exited,
    lastWords: () => words.trim(),
    kill: () => subprocess.kill('SIGKILL'),
    send: (message) => subprocess.send(message),
    async stop(timeoutMs) {
      if (subprocess.exitCode !== null || subprocess.signalCode !== null) return;
      subprocess.kill('SIGTERM');
      const timer = setTimeout(() => subprocess.kill('SIGKILL'), timeoutMs);
      await exited.finally(() => clearTimeout(timer));
    },
  };
}
