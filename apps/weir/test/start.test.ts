import { expect, test } from 'bun:test';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runCli } from './run-cli.ts';

const START = join(import.meta.dir, '../src/start-command.ts');

/** Becomes `entry` in a process of its own, as `weir start` does. */
async function withService<T>(
  text: string,
  work: (child: Bun.Subprocess<'ignore', 'pipe', 'pipe'>) => Promise<T>,
): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'weir-start-'));
  try {
    const entry = join(folder, 'main.ts');
    await Bun.write(entry, text);
    const script = `
      const { startService } = await import(${JSON.stringify(START)});
      startService(${JSON.stringify(entry)}, ['--config', 'a b.json', '--x'], { PATH: process.env.PATH, MARK: 'seen' });`;
    const child = Bun.spawn([process.execPath, '-e', script], { stdin: 'ignore', stdout: 'pipe', stderr: 'pipe' });
    return await work(child);
  } finally {
    await rm(folder, { recursive: true });
  }
}

test('the service gets the arguments and the environment, and its exit code is kept', () =>
  withService(
    'process.stdout.write(JSON.stringify([process.argv.slice(2), process.env.MARK, process.pid])); process.exit(78);',
    async (child) => {
      expect(JSON.parse(await child.stdout.text())).toEqual([['--config', 'a b.json', '--x'], 'seen', child.pid]);
      expect(await child.exited).toBe(78);
    },
  ));

test('a signal reaches the service itself', () =>
  withService(
    "process.on('SIGTERM', () => process.exit(5)); process.stdout.write('ready'); setInterval(() => undefined, 1000);",
    async (child) => {
      const { value } = await child.stdout.getReader().read();
      expect(Buffer.from(value ?? []).toString()).toBe('ready');
      child.kill('SIGTERM');
      expect(await child.exited).toBe(5);
    },
  ));

test('help, the version, and an unknown command', async () => {
  for (const args of [
    ['--help'],
    ['start', '--help'],
    ['import', '--help'],
    ['query', '--help'],
    ['doctor', '--help'],
  ]) {
    const { exitCode, out } = await runCli(args);
    expect(exitCode).toBe(0);
    expect(out).toContain('Usage: weir');
  }
  expect((await runCli(['import', '--help'])).out).toContain('"uuidv5"');
  expect((await runCli(['--version'])).out).toMatch(/^\d+\.\d+\.\d+\n$/);
  const unknown = await runCli(['imprt']);
  expect(unknown.exitCode).toBe(2);
  expect(unknown.err).toContain('Did you mean import?');
});
