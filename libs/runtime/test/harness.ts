/** Real processes for the tests of this folder. Everything that is started here is ended by `cleanUp`. */
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { identityOf, isRunning, type ProcessIdentity } from '../src/identity.ts';
import type { ProcessSpec } from '../src/index.ts';
import { readRecord } from '../src/record.ts';

const fixtures = join(import.meta.dir, 'fixtures');
const folders: string[] = [];
const started: Started[] = [];
const seen = new Map<string, ProcessIdentity>();

export interface Started {
  readonly pid: number;
  readonly exited: Promise<number>;
  stdout(): string;
  stderr(): string;
  kill(signal: NodeJS.Signals): void;
  write(line: string): void;
}

export function fixture(name: string): string {
  return join(fixtures, `${name}.ts`);
}

export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'weir-runtime-'));
  folders.push(folder);
  return folder;
}

export function start(name: string, ...args: string[]): Started {
  const child = Bun.spawn([process.execPath, fixture(name), ...args], {
    stdio: ['pipe', 'pipe', 'pipe'],
    detached: true,
  });
  const output = { stdout: '', stderr: '' };
  void collect(child.stdout, (text) => {
    output.stdout += text;
  });
  void collect(child.stderr, (text) => {
    output.stderr += text;
  });
  const process_: Started = {
    pid: child.pid,
    exited: child.exited,
    stdout: () => output.stdout,
    stderr: () => output.stderr,
    kill: (signal) => child.kill(signal),
    write(line) {
      child.stdin.write(`${line}\n`);
      child.stdin.flush();
    },
  };
  started.push(process_);
  return process_;
}

async function collect(stream: ReadableStream<Uint8Array>, take: (text: string) => void): Promise<void> {
  const decoder = new TextDecoder();
  for await (const chunk of stream) take(decoder.decode(chunk, { stream: true }));
}

export interface Supervised extends Started {
  readonly dataDir: string;
}

/** Behaviours by process name, in order of start; the later ones stop later. */
export function startSupervisor(
  dataDir: string,
  behaviours: Readonly<Record<string, string>>,
  options: { shutdownTimeoutMs?: number; portTaken?: boolean; extra?: ProcessSpec } = {},
): Supervised {
  const processes: ProcessSpec[] = Object.entries(behaviours).map(([name, behaviour], i) => ({
    name,
    argv: [process.execPath, fixture('child'), dataDir, name, behaviour],
    stopStage: i,
  }));
  if (options.extra !== undefined) processes.push(options.extra);
  const argument = {
    dataDir,
    processes,
    shutdownTimeoutMs: options.shutdownTimeoutMs ?? 10_000,
    portTaken: options.portTaken,
  };
  return { ...start('supervisor', JSON.stringify(argument)), dataDir };
}

export async function whenReady(supervisor: Supervised): Promise<void> {
  await until(
    () => supervisor.stdout().includes('ready '),
    () => `ready; stderr: ${supervisor.stderr()}`,
  );
}

/** The process of that name that is on record now. */
export function recorded(dataDir: string, name: string): ProcessIdentity | undefined {
  const found = readRecord(join(dataDir, 'run', 'processes.json')).find((entry) => entry.name === name);
  if (found !== undefined) seen.set(`${found.pid}@${found.startTime}`, found);
  return found;
}

export function mustBeRecorded(dataDir: string, name: string): ProcessIdentity {
  const found = recorded(dataDir, name);
  if (found === undefined) throw new Error(`${name} is not on record`);
  return found;
}

/** What the children wrote down, in order. */
export function notes(dataDir: string): string[] {
  if (!existsSync(join(dataDir, 'notes'))) return [];
  return readFileSync(join(dataDir, 'notes'), 'utf8').trim().split('\n');
}

/** Polls until the condition holds; fails after `timeoutMs` milliseconds. */
export async function until(
  condition: () => boolean,
  what: string | (() => string),
  timeoutMs = 15_000,
): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!condition()) {
    if (performance.now() > deadline)
      throw new Error(`Not within ${timeoutMs} ms: ${typeof what === 'string' ? what : what()}`);
    await Bun.sleep(10);
  }
}

/** Ends what a test started, also what its supervisors started, and removes its folders. */
export async function cleanUp(): Promise<void> {
  for (const folder of folders) {
    for (const name of ['accept', 'deliver']) {
      try {
        recorded(folder, name);
      } catch (error) {
        if (!(error instanceof SyntaxError)) throw error; // a test put garbage there
      }
    }
  }
  for (const one of started) if (identityOf(one.pid) !== undefined) one.kill('SIGKILL');
  await Promise.all(started.map((one) => one.exited));
  for (const identity of seen.values()) if (isRunning(identity)) process.kill(identity.pid, 'SIGKILL');
  started.length = 0;
  seen.clear();
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
}
