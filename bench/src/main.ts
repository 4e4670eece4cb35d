/** `npm run bench`: measures Weir and a bare Bun server in the same run. README.md says what and how. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { runBench } from './bench.ts';
import { type Children, createChildren } from './children.ts';
import { helpText, type Options, parseOptions } from './config.ts';

const STOP_TIMEOUT_MS = 45_000;
const EXIT_USAGE = 64;
const EXIT_INTERRUPTED = 130;

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** The line that is being worked on; only where somebody watches. */
function progress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`);
}

async function run(options: Options): Promise<number> {
  const children = createChildren();
  const interrupted = Promise.withResolvers<number>();
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => interrupted.resolve(EXIT_INTERRUPTED));
  return await Promise.race([interrupted.promise, runAndSave(options, children)]).finally(() =>
    children.stopAll(STOP_TIMEOUT_MS),
  );
}

async function runAndSave(options: Options, children: Children): Promise<number> {
  const file = resolve(options.jsonFile ?? defaultFile());
  const folder = options.folder ?? tmpdir();
  const { results, hasErrors } = await runBench({ options, children, print, progress, folder });
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, `${JSON.stringify(results, undefined, 2)}\n`);
  print(`\nResults: ${file}`);
  if (hasErrors) print('Some answers were not what they should be: see the lines marked with "!".');
  return hasErrors ? 1 : 0;
}

function defaultFile(): string {
  const time = new Date().toISOString().replaceAll(':', '-').slice(0, 19);
  return join(import.meta.dir, '..', 'results', `${time}.json`);
}

const parsed = parseOptions(process.argv.slice(2));
if (parsed.kind === 'help') {
  process.stdout.write(helpText());
} else if (parsed.kind === 'wrong') {
  process.stderr.write(`${parsed.problems.join('\n')}\nSee --help.\n`);
  process.exit(EXIT_USAGE);
} else if (process.platform !== 'linux') {
  process.stderr.write('The bench reads /proc: it runs on Linux only.\n');
  process.exit(1);
} else {
  run(parsed.options).then(
    (code) => process.exit(code),
    (error: unknown) => {
      process.stderr.write(`\n${error instanceof Error ? error.message : String(error)}\n`);
      process.exit(1);
    },
  );
}
