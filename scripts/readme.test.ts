/**
 * Keeps README.md and docs/ true: every command that a marker names is run as printed against a started service (on
 * another port), and tables are compared with the code.
 *
 *   <!-- run: text -->        the next block exits with 0 and prints the text
 *   <!-- run until: text -->  the same, tried again while the text is not there yet: delivery takes a moment
 */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { settingsTable } from './settings-table.ts';

const root = join(import.meta.dir, '..');
const PRINTED_ADDRESS = '127.0.0.1:3001';
const WAIT_MS = 30_000;
const TEST_MS = 60_000;

const readText = (path: string) => readFileSync(join(root, path), 'utf8');
const readme = readText('README.md');

interface Command {
  readonly line: number;
  readonly text: string;
  readonly expected: string;
  readonly again: boolean;
}

function commandsOf(markdown: string): Command[] {
  const blocks = markdown.matchAll(/<!-- run( until)?: (.*?) -->\n```sh\n([\s\S]*?)```/g);
  return [...blocks].map((block) => ({
    line: markdown.slice(0, block.index).split('\n').length,
    again: block[1] !== undefined,
    expected: block[2] ?? '',
    text: block[3] ?? '',
  }));
}

/** The text between `<!-- name -->` and `<!-- /name -->`. */
function section(markdown: string, name: string): string {
  const [, text] = new RegExp(`<!-- ${name} -->([\\s\\S]*?)<!-- /${name} -->`).exec(markdown) ?? [];
  if (text === undefined) throw new Error(`There is no section ${name}.`);
  return text;
}

/** Rows without the blanks and dashes that only align columns. */
const rowsOf = (table: string) =>
  table
    .trim()
    .split('\n')
    .map((row) => row.replace(/\s+/g, ' ').replace(/-{2,}/g, '---'));

interface Service {
  readonly address: string;
  readonly dataFolder: string;
  readonly welcome: string;
  /** Resolves to the exit code after SIGTERM. */
  stop(): Promise<number>;
}

async function startService(): Promise<Service> {
  const dataFolder = mkdtempSync(join(tmpdir(), 'weir-readme-'));
  const child = Bun.spawn(
    [process.execPath, join(root, 'apps/ingestion/src/main.ts'), '--config', 'examples/rees46/weir.json'],
    {
      cwd: root,
      env: { ...process.env, PORT: '0', HOST: '127.0.0.1', WEIR_DATA_DIR: dataFolder, LOG_LEVEL: 'error' },
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  );
  const errors = child.stderr.text();
  const decoder = new TextDecoder();
  let welcome = '';
  for await (const chunk of child.stdout) {
    welcome += decoder.decode(chunk, { stream: true });
    if (welcome.includes('/query -d')) break;
  }
  const address = /Weir is listening on http:\/\/(\S+)/.exec(welcome)?.[1];
  if (address === undefined) {
    rmSync(dataFolder, { recursive: true, force: true });
    throw new Error(`The service did not start: ${welcome}${await errors}`);
  }
  async function stop(): Promise<number> {
    child.kill('SIGTERM');
    return child.exited;
  }
  return { address, dataFolder, welcome, stop };
}

async function runShell(text: string, address: string) {
  const child = Bun.spawn(['sh', '-c', text.replaceAll(PRINTED_ADDRESS, address)], {
    cwd: root,
    env: { ...process.env, WEIR_URL: `http://${address}`, NO_COLOR: '1' },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: WAIT_MS,
    killSignal: 'SIGKILL',
  });
  const [out, err, exitCode] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  return { out, err, exitCode };
}

async function expectCommand(command: Command, address: string): Promise<void> {
  const deadlineMs = performance.now() + WAIT_MS;
  for (;;) {
    const { out, err, exitCode } = await runShell(command.text, address);
    const isThere = exitCode === 0 && out.includes(command.expected);
    if (!isThere && command.again && performance.now() < deadlineMs) continue;
    expect({ exitCode, out, err: exitCode === 0 ? '' : err }).toEqual({
      exitCode: 0,
      out: expect.stringContaining(command.expected),
      err: '',
    });
    return;
  }
}

describe('against a started service', () => {
  const commands = commandsOf(readme);
  let service: Service | undefined;

  beforeAll(async () => {
    service = await startService();
  }, TEST_MS);

  afterAll(async () => {
    if (service === undefined) return;
    await service.stop();
    rmSync(service.dataFolder, { recursive: true, force: true });
  }, TEST_MS);

  const address = () => service?.address ?? '';

  test('README marks the commands that can be run', () => {
    const talking = [...readme.matchAll(/```sh\n([\s\S]*?)```/g)].filter(([, text = '']) =>
      /curl |weir -- (query|import|dlq|sink) .|weir -- reconcile|bun -e/.test(text),
    );
    expect(commands.length).toBe(talking.length);
    expect(commands.length).toBeGreaterThan(5);
  });

  for (const command of commands) {
    const [first = ''] = command.text.split('\n');
    test(`README.md:${command.line} ${first.slice(0, 60)}`, () => expectCommand(command, address()), TEST_MS);
  }

  test(
    'the lines that the start prints work as printed',
    async () => {
      const lines = (service?.welcome ?? '').split('\n').filter((line) => line.trim().startsWith('curl '));
      expect(lines.length).toBe(2);
      const [event = '', query = ''] = lines;
      const line = { line: 0, again: false };
      await expectCommand({ ...line, text: event, expected: '"status":"accepted"' }, address());
      await expectCommand({ ...line, text: query, expected: 'item_added', again: true }, address());
    },
    TEST_MS,
  );

  test('the endpoints are those of the API document', async () => {
    const document = (await (await fetch(`http://${address()}/swagger/json`)).json()) as {
      paths: Record<string, Record<string, unknown>>;
    };
    const served = Object.entries(document.paths).flatMap(([path, operations]) =>
      Object.keys(operations).map((method) => `${method.toUpperCase()} ${path}`),
    );
    const listed = [...section(readme, 'endpoints').matchAll(/`((?:GET|POST|DELETE) \/[^`]*)`/g)].map(
      ([, one = '']) => one,
    );
    expect(listed.toSorted()).toEqual(served.toSorted());
  });

  test('the metrics in docs/operations.md are those that are exposed', async () => {
    const reply = await fetch(`http://${address()}/metrics`, { headers: { accept: 'text/plain' } });
    const exposed = [...(await reply.text()).matchAll(/^# TYPE (weir_\w+) /gm)].map(([, name = '']) => name);
    const listed = section(readText('docs/operations.md'), 'metrics').matchAll(/`(weir_\w+)/g);
    expect([...new Set([...listed].map(([, name = '']) => name))].toSorted()).toEqual(exposed.toSorted());
  });

  test('the metrics of Redis in docs/operations.md are those of the code', () => {
    const inCode = readText('apps/ingestion/src/routes/metrics.ts').matchAll(/'(weir_redis_\w+)'/g);
    const listed = section(readText('docs/operations.md'), 'metrics-redis').matchAll(/`(weir_\w+)/g);
    const names = (found: Iterable<RegExpMatchArray>) => [...found].map(([, name = '']) => name).toSorted();
    expect(names(listed)).toEqual(names(inCode));
  });

  test(
    'SIGTERM ends it in order',
    async () => {
      expect(await service?.stop()).toBe(0);
    },
    TEST_MS,
  );
});

describe('against the code', () => {
  const examples = [...new Bun.Glob('examples/**/weir.json').scanSync({ cwd: root })];

  test('there are examples of configurations', () => expect(examples.length).toBeGreaterThan(1));

  for (const example of examples) {
    test(`${example} can be used`, () => {
      const { stdout } = Bun.spawnSync(
        [process.execPath, join(root, 'apps/ingestion/src/main.ts'), 'check-config', '--config', join(root, example)],
        { env: {} },
      );
      expect(JSON.parse(stdout.toString())).toMatchObject({ ok: true, problems: [] });
    });
  }

  test('the settings are those of config.ts', () => {
    expect(rowsOf(section(readme, 'settings'))).toEqual(rowsOf(settingsTable()));
  });

  test('the folders are those of the workspace', () => {
    const folders = ['apps', 'libs'].flatMap((top) =>
      readdirSync(join(root, top), { withFileTypes: true })
        .filter((entry) => entry.isDirectory())
        .map(({ name }) => `${top}/${name}`),
    );
    const listed = [...section(readme, 'folders').matchAll(/^\| `([^`]+)`/gm)].map(([, folder = '']) => folder);
    expect(listed).toEqual(expect.arrayContaining(folders));
    expect(listed.filter((folder) => !existsSync(join(root, folder)))).toEqual([]);
  });

  test('links lead somewhere', () => {
    const files = ['*.md', '{docs,examples,libs}/**/*.md'].flatMap((pattern) =>
      [...new Bun.Glob(pattern).scanSync({ cwd: root })].filter((file) => !file.includes('node_modules')),
    );
    expect(files.length).toBeGreaterThan(5);
    const dead = files.flatMap((file) =>
      [...readText(file).matchAll(/\]\(([^)#:]+)(?:#[^)]*)?\)/g)]
        .map(([, target = '']) => target)
        .filter((target) => !existsSync(join(root, dirname(file), target)))
        .map((target) => `${file}: ${target}`),
    );
    expect(dead).toEqual([]);
  });

  test('npm scripts that are named exist', () => {
    const { scripts } = JSON.parse(readText('package.json')) as { scripts: Record<string, string> };
    const texts = ['README.md', 'CONTRIBUTING.md', 'docs/operations.md', 'docs/architecture.md']
      .map(readText)
      .join('\n');
    const named = [...texts.matchAll(/npm run (?:-s )?(\w+)/g)].map(([, name = '']) => name);
    expect(named.length).toBeGreaterThan(5);
    expect(named.filter((name) => scripts[name] === undefined)).toEqual([]);
  });
});
