/** `npm run check`: format and lint, types, and the tidy test. Stops at the first that fails. */
import { join } from 'node:path';

const root = join(import.meta.dir, '..');
const steps: readonly (readonly [string, readonly string[]])[] = [
  ['format and lint', ['x', 'biome', 'check', '--error-on-warnings', '.']],
  ['types', ['x', 'tsc', '--noEmit', '-p', '.']],
  ['tidy', ['test', 'scripts/tidy.test.ts']],
];

for (const [name, args] of steps) {
  process.stdout.write(`check: ${name}\n`);
  const { exitCode } = Bun.spawnSync([process.execPath, ...args], {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  if (exitCode !== 0) process.exit(exitCode ?? 1);
}
