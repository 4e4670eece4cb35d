/**
 * `npm test [-- FILTER…]`: the checks, then every test file in a process of its own (the embedded engine serves one
 * folder per process, and no file can lean on another). Tests beside the code run two at a time; what crosses
 * sockets and processes (test/, integrity/) runs alone. Ends with the sum, and with 1 when anything failed.
 */
import { join, relative } from 'node:path';
import { Glob } from 'bun';

const root = join(import.meta.dir, '..');
const TIMEOUT_MS = 120_000;

interface Tally {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

const filters = process.argv.slice(2);
// The tidy test is among the checks.
const files = [...new Glob('{apps,libs,bench,integrity,scripts}/**/*.test.ts').scanSync({ cwd: root })]
  .filter((file) => file !== 'scripts/tidy.test.ts')
  .filter((file) => !file.includes('node_modules'))
  .filter((file) => filters.length === 0 || filters.some((filter) => file.includes(relative(root, join(root, filter)))))
  .sort();
const isAlone = (file: string): boolean => /(^|\/)(test|integrity|scripts)\//.test(file);

if (filters.length === 0) await check();
const started = performance.now();
const tallies: Tally[] = [];
await runAll(
  files.filter((file) => !isAlone(file)),
  2,
);
await runAll(files.filter(isAlone), 1);

const sum = (of: (tally: Tally) => number): number => tallies.reduce((total, tally) => total + of(tally), 0);
const [passed, failed, skipped] = [sum((one) => one.passed), sum((one) => one.failed), sum((one) => one.skipped)];
process.stdout.write(`\n${files.length} files in ${Math.round((performance.now() - started) / 1_000)} s\n`);
process.stdout.write(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}\n`);
process.exit(failed > 0 || passed === 0 ? 1 : 0);

async function check(): Promise<void> {
  const child = Bun.spawn([process.execPath, 'scripts/check.ts'], {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  if ((await child.exited) !== 0) process.exit(1);
}

async function runAll(list: readonly string[], width: number): Promise<void> {
  const waiting = [...list];
  const workers = Array.from({ length: width }, async () => {
    for (let file = waiting.shift(); file !== undefined; file = waiting.shift()) tallies.push(await run(file));
  });
  await Promise.all(workers);
}

/** A file that ends without a count (a crash, a hang) counts as one failure. */
async function run(file: string): Promise<Tally> {
  const child = Bun.spawn([process.execPath, 'test', `--timeout=${TIMEOUT_MS}`, `./${file}`], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, NO_COLOR: '1' },
  });
  const [out, err, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  const count = (what: string): number => Number(new RegExp(`^\\s*(\\d+) ${what}$`, 'm').exec(err)?.[1] ?? 0);
  const tally = { passed: count('pass'), failed: count('fail'), skipped: count('skip') };
  const ok = code === 0 && tally.failed === 0;
  process.stdout.write(
    `${ok ? 'ok  ' : 'FAIL'} ${file}  ${tally.passed} passed${tally.failed > 0 ? `, ${tally.failed} failed` : ''}\n`,
  );
  if (!ok) process.stdout.write(`${out}${err}\n`);
  return ok || tally.failed > 0 ? tally : { ...tally, failed: 1 };
}
