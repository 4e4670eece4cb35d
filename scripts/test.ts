/**
 * `npm test [-- FILTER…]`: the checks, then every test file in a process of its own (the embedded engine serves one
 * folder per process, and no file can lean on another). Tests beside the code run two at a time; what crosses
 * sockets and processes (test/, integrity/) runs alone. What needs servers gets them before (libs/services), and files that
 * only use a Kafka share one. Ends with the sum, and with 1 when anything failed, or was skipped while WEIR_CI is set.
 */
import { join, relative } from 'node:path';
import { Glob } from 'bun';
import { installServices, startKafka } from '../libs/services/src/index.ts';
import { ownCode } from './own-code.ts';
import { runFile, type TestRun } from './test-run.ts';

const root = join(import.meta.dir, '..');

const filters = process.argv.slice(2);
// The tidy test is among the checks.
const files = [...new Glob('{apps,libs,bench,integrity,scripts}/**/*.test.ts').scanSync({ cwd: root })]
  .filter((file) => file !== 'scripts/tidy.test.ts')
  .filter((file) => !file.includes('node_modules'))
  .filter((file) => filters.length === 0 || filters.some((filter) => file.includes(relative(root, join(root, filter)))))
  .sort();
const code = new Map(files.map((file) => [file, ownCode(join(root, file))]));
const mentions = (file: string, word: string): boolean => code.get(file)?.includes(word) === true;
const isAlone = (file: string): boolean => /(^|\/)(test|integrity|scripts)\//.test(file);
const sharesKafka = (file: string): boolean => mentions(file, 'useKafka');

if (filters.length === 0) await check();
const started = performance.now();
const print = (line: string): void => void process.stdout.write(`${line}\n`);
if (files.some((file) => mentions(file, 'lacks('))) await installServices(print);

const runs: TestRun[] = [];
await runAll(
  files.filter((file) => !isAlone(file) && !sharesKafka(file)),
  2,
);
await runAll(
  files.filter((file) => isAlone(file) && !sharesKafka(file)),
  1,
);
await withSharedKafka(files.filter(sharesKafka));
process.exit(sumUp());

async function check(): Promise<void> {
  const child = Bun.spawn([process.execPath, 'scripts/check.ts'], {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  if ((await child.exited) !== 0) process.exit(1);
}

async function runAll(list: readonly string[], width: number, env: Record<string, string> = {}): Promise<void> {
  const waiting = [...list];
  const workers = Array.from({ length: width }, async () => {
    for (let file = waiting.shift(); file !== undefined; file = waiting.shift()) {
      const run = await runFile(root, file, env);
      runs.push(run);
      print(`${run.verdict} ${file}  ${counts(run)}`);
      if (run.verdict === 'FAIL') print(run.output);
    }
  });
  await Promise.all(workers);
}

/** One broker for all of them, unless the environment names one or none can be had: then they skip what needs it. */
async function withSharedKafka(list: readonly string[]): Promise<void> {
  if (list.length === 0) return;
  const isNamed = (process.env['WEIR_TEST_KAFKA_BROKERS']?.trim() ?? '') !== '';
  const isHere = (await installServices(() => undefined, ['kafka'])).length === 0;
  if (isNamed || !isHere) return runAll(list, 1);
  await using kafka = await startKafka();
  await runAll(list, 1, { WEIR_TEST_KAFKA_BROKERS: kafka.brokers });
}

function counts({ passed, failed, skipped }: Pick<TestRun, 'passed' | 'failed' | 'skipped'>): string {
  const others = [failed > 0 ? `, ${failed} failed` : '', skipped > 0 ? `, ${skipped} skipped` : ''];
  return `${passed} passed${others.join('')}`;
}

/** The exit code. */
function sumUp(): number {
  const sum = (of: (run: TestRun) => number): number => runs.reduce((total, run) => total + of(run), 0);
  const [passed, failed, skipped] = [sum((one) => one.passed), sum((one) => one.failed), sum((one) => one.skipped)];
  print(`\n${files.length} files in ${Math.round((performance.now() - started) / 1_000)} s`);
  for (const reason of new Set(runs.flatMap(({ skipReasons }) => skipReasons))) print(reason);
  print(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`);
  const skipFails = skipped > 0 && (process.env['WEIR_CI']?.trim() ?? '') !== '';
  if (skipFails) print('WEIR_CI is set: a skipped test counts as a failure.');
  return failed > 0 || skipFails || passed + skipped === 0 ? 1 : 0;
}
