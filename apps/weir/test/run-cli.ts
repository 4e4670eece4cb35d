/** Runs the real command line in a process of its own. */
import { join } from 'node:path';

export const MAIN = join(import.meta.dir, '../src/main.ts');
export const SHOP_CSV = join(import.meta.dir, 'shop.csv');
export const REES46 = join(import.meta.dir, '../../../examples/rees46');

export interface CliResult {
  readonly exitCode: number;
  readonly out: string;
  readonly err: string;
}

export interface CliInput {
  readonly stdin?: string | Uint8Array;
  readonly environment?: Readonly<Record<string, string>>;
}

export function spawnCli(args: readonly string[], { stdin, environment = {} }: CliInput = {}) {
  return Bun.spawn([process.execPath, MAIN, ...args], {
    env: { PATH: process.env['PATH'] ?? '', ...environment },
    stdin: stdin === undefined ? 'ignore' : Buffer.from(stdin),
    stdout: 'pipe',
    stderr: 'pipe',
  });
}

export async function runCli(args: readonly string[], input: CliInput = {}): Promise<CliResult> {
  const child = spawnCli(args, input);
  const [out, err, exitCode] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  return { exitCode, out, err };
}
