/** `npm run bench`: measures Weir and a bare Bun server in the same run. README.md says what and how. */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { hasProblems, profileParts, type Results, runBench } from './bench.ts';
import { type Children, createChildren } from './children.ts';
import { helpText, type Options, parseOptions } from './config.ts';
import { DOCS_FILE, docFiles, mergeResults, PLOTS_FOLDER } from './docs.ts';
import { PARTS } from './parts.ts';

const STOP_TIMEOUT_MS = 45_000;
const ALIVE_INTERVAL_MS = 60_000;
const EXIT_USAGE = 64;
const EXIT_INTERRUPTED = 130;
const DOCS = join(import.meta.dir, '../../docs');

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** The line that is being worked on; only where somebody watches. */
function progress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`);
}

async function run(options: Options): Promise<number> {
  const children = createChildren();
  // Servers of @libs/services do not keep a process alive: one that waits for their end would end itself, in silence.
  const alive = setInterval(() => {}, ALIVE_INTERVAL_MS);
  const interrupted = Promise.withResolvers<number>();
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => interrupted.resolve(EXIT_INTERRUPTED));
  try {
    return await Promise.race([interrupted.promise, runAndSave(options, children)]);
  } finally {
    await children.stopAll(STOP_TIMEOUT_MS);
    clearInterval(alive);
  }
}

async function runAndSave(options: Options, children: Children): Promise<number> {
  const file = resolve(options.jsonFile ?? defaultFile());
  const context = { options, allParts: PARTS, children, print, progress, folder: options.folder ?? tmpdir() };
  if (options.from.length > 0) {
    writeDocs(mergeResults(options.from.map((from) => JSON.parse(readFileSync(from, 'utf8')) as Results)));
    return 0;
  }
  if (options.profile) {
    await profileParts(context);
    return 0;
  }
  mkdirSync(dirname(file), { recursive: true });
  // After every part, so that what was measured survives whatever happens to the next one.
  const results = await runBench(context, (sofar) => writeFileSync(file, `${JSON.stringify(sofar, undefined, 2)}\n`));
  print(`\nResults: ${file}`);
  if (options.docs) writeDocs(results);
  if (!hasProblems(results)) return 0;
  print('Something was not what it should be: see the lines marked with "!".');
  return 1;
}

/** What an earlier run left there and this one did not make is removed. */
function writeDocs(results: Results): void {
  const files = docFiles(results, PARTS);
  rmSync(join(DOCS, PLOTS_FOLDER), { recursive: true, force: true });
  mkdirSync(join(DOCS, PLOTS_FOLDER), { recursive: true });
  for (const [path, content] of files) writeFileSync(join(DOCS, path), content);
  print(`Docs: ${join(DOCS, DOCS_FILE)} and ${PLOTS_FOLDER}/`);
}

function defaultFile(): string {
  const time = new Date().toISOString().replaceAll(':', '-').slice(0, 19);
  return join(import.meta.dir, '..', 'results', `${time}.json`);
}

const parsed = parseOptions(process.argv.slice(2), PARTS);
if (parsed.kind === 'help') {
  process.stdout.write(helpText(parsed.options, PARTS));
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
