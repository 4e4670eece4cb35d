/** The command line as an operator runs it. */
import { join } from 'node:path';

export interface CommandResult {
  readonly code: number;
  readonly out: string;
}

const ENTRY = join(import.meta.dir, '..', '..', 'apps', 'weir', 'src', 'main.ts');
const TIMEOUT_MS = 120_000;

/** Resolves to the exit code and what was printed, on either stream. */
export async function weir(url: string, ...args: readonly string[]): Promise<CommandResult> {
  const child = Bun.spawn([process.execPath, ENTRY, ...args, '--url', url], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env['PATH'] ?? '' },
    timeout: TIMEOUT_MS,
    killSignal: 'SIGKILL',
  });
  const [out, err, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  return { code, out: out + err };
}
