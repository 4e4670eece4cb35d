import { describe, expect, test } from 'bun:test';
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { formatFindings, runDoctorCommand } from '../src/doctor/doctor-command.ts';
import { checkFileSystem, checkFolder, checkSpace } from '../src/doctor/folder-check.ts';
import { checkLimits, readProcFile } from '../src/doctor/limits-check.ts';
import { checkService } from '../src/doctor/service-check.ts';
import { checkSettings } from '../src/doctor/settings-check.ts';
import { createService } from '../src/service.ts';

async function withFolder<T>(work: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'weir-doctor-'));
  try {
    return await work(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}

const settle = (findings: readonly { name: string; state: string }[]) =>
  Object.fromEntries(findings.map(({ name, state }) => [name, state]));

describe('the data folder', () => {
  test('one that is there, one that is not yet, and a file', () =>
    withFolder(async (folder) => {
      expect(settle(await checkFolder(folder))).toMatchObject({ exists: 'ok', writable: 'ok' });
      const missing = await checkFolder(join(folder, 'not', 'yet'));
      expect(settle(missing)).toMatchObject({ exists: 'info', writable: 'ok' });
      const file = join(folder, 'file');
      await writeFile(file, '');
      expect(settle(await checkFolder(file))).toEqual({ exists: 'failure' });
    }));

  test('one that cannot be written', () =>
    withFolder(async (folder) => {
      const locked = join(folder, 'locked');
      await mkdir(locked);
      await chmod(locked, 0o555);
      await chmod(folder, 0o755);
      // Root may write everywhere, so the check runs in a process that is not root.
      const script = `
        const { checkFolder } = await import(${JSON.stringify(join(import.meta.dir, '../src/doctor/folder-check.ts'))});
        if (process.getuid() === 0) process.setuid(65534);
        process.stdout.write(JSON.stringify(await checkFolder(${JSON.stringify(locked)})));`;
      const child = Bun.spawn([process.execPath, '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
      expect(settle(JSON.parse(await child.stdout.text()))).toMatchObject({ exists: 'ok', writable: 'failure' });
    }));

  test('room and file systems', () => {
    const space = { type: 0, bsize: 4096, frsize: 4096, blocks: 1e9, bfree: 1e9, bavail: 1e9, files: 1e6, ffree: 1e6 };
    expect(checkSpace(space).state).toBe('ok');
    expect(checkSpace({ ...space, bavail: 1000 }).state).toBe('warning');
    expect(checkSpace({ ...space, ffree: 3 }).state).toBe('failure');
    expect(checkFileSystem({ type: 0xef53 }, 'linux')).toMatchObject({ state: 'ok', message: 'ext4' });
    expect(checkFileSystem({ type: 0x01021994 }, 'linux')).toMatchObject({ state: 'failure', message: 'tmpfs' });
    // statfs gives a signed number on some systems.
    expect(checkFileSystem({ type: 0x9123683e | 0 }, 'linux')).toMatchObject({ message: 'Btrfs' });
    expect(checkFileSystem({ type: 26 }, 'darwin').state).toBe('info');
  });
});

describe('limits', () => {
  const files = new Map([
    [
      '/proc/self/limits',
      'Limit  Soft Limit  Hard Limit  Units\nMax open files            1024                 524288               files\n',
    ],
    ['/proc/sys/vm/max_map_count', '65530\n'],
    ['/proc/sys/net/core/somaxconn', '128\n'],
    ['/proc/sys/vm/overcommit_memory', '2\n'],
  ]);

  test('low ones are warnings with what to do', async () => {
    const sources = { read: async (path: string) => files.get(path), bunVersion: '1.0.0', bunPinned: '1.4.5' };
    const findings = await checkLimits(sources);
    expect(settle(findings)).toMatchObject({
      Bun: 'warning',
      descriptors: 'warning',
      'vm.max_map_count': 'ok',
      'net.core.somaxconn': 'warning',
      'vm.overcommit_memory': 'warning',
    });
    expect(findings.find(({ name }) => name === 'descriptors')?.remedy).toContain('524288');
  });

  test('what this machine does not tell is left out', async () => {
    const findings = await checkLimits({ read: async () => undefined, bunVersion: '1.4.5', bunPinned: '1.4.5' });
    expect(findings.map(({ name }) => name)).toEqual(['Bun', 'machine']);
    expect(await readProcFile('/proc/there/is/none')).toBeUndefined();
  });
});

describe('the running service', () => {
  const serve = (body: unknown, status = 200) => {
    const server = Bun.serve({ hostname: '127.0.0.1', port: 0, fetch: () => Response.json(body, { status }) });
    return {
      service: createService(`http://127.0.0.1:${server.port}`, 5_000),
      [Symbol.dispose]: () => void server.stop(true),
    };
  };

  test('its health, part by part', async () => {
    using running = serve({
      status: 'degraded',
      version: '1.2.3',
      services: {
        journal: { state: 'full', lastError: 'no room\u001b[2J' },
        clickhouse: { status: 'healthy', latency: 3 },
      },
    });
    const findings = await checkService(running.service);
    expect(settle(findings)).toEqual({ service: 'warning', journal: 'failure', clickhouse: 'ok' });
    expect(findings[0]?.message).toContain('version 1.2.3');
    expect(formatFindings(findings)).not.toContain('\u001b');
  });

  test('something else on its port is a failure, nobody is not', async () => {
    using other = serve({ hello: 'world' });
    expect(settle(await checkService(other.service))).toEqual({ service: 'failure' });
    const gone = serve({});
    gone[Symbol.dispose]();
    expect(settle(await checkService(gone.service))).toEqual({ service: 'info' });
  });
});

describe('settings', () => {
  const program = (folder: string, text: string) => {
    const entry = join(folder, 'main.ts');
    return Bun.write(entry, text).then(() => ({ entry, environment: { WEIR_TEST: 'seen' }, configPath: 'weir.json' }));
  };

  test('are what the service says of them, with its own environment and configuration file', () =>
    withFolder(async (folder) => {
      const options = await program(
        folder,
        'process.stdout.write(JSON.stringify({ ok: true, settings: { dataFolder: "./d", args: process.argv.slice(2), seen: process.env.WEIR_TEST } }))',
      );
      const report = await checkSettings(options);
      expect(report.dataDir).toBe('./d');
      expect(report.settings).toMatchObject({ args: ['check-config', '--config', 'weir.json'], seen: 'seen' });
      expect(report.findings.map(({ state }) => state)).toEqual(['ok']);
    }));

  test('every problem is a finding', () =>
    withFolder(async (folder) => {
      const problems = ['PORT must be a number', { field: 'eventTypes.x', message: 'no schema' }];
      const text = `process.stdout.write(${JSON.stringify(JSON.stringify({ ok: false, problems }))}); process.exit(1)`;
      const { findings } = await checkSettings(await program(folder, text));
      expect(findings.map(({ state, message }) => [state, message])).toEqual([
        ['failure', 'PORT must be a number'],
        ['failure', 'eventTypes.x: no schema'],
      ]);
    }));

  test('a program that says nothing of the kind is a failure with its last words', () =>
    withFolder(async (folder) => {
      const { findings } = await checkSettings(
        await program(folder, 'process.stderr.write("it broke\\n"); process.exit(3)'),
      );
      expect(findings[0]).toMatchObject({ state: 'failure', message: 'they cannot be checked: it broke' });
    }));

  test('the command adds up: one failure anywhere is exit code 1', () =>
    withFolder(async (folder) => {
      const gone = Bun.serve({ hostname: '127.0.0.1', port: 0, fetch: () => new Response() });
      const service = createService(`http://127.0.0.1:${gone.port}`, 5_000);
      await gone.stop(true);
      const run = async (ok: boolean) => {
        let out = '';
        const terminal = {
          out: async (chunk: string | Uint8Array) => {
            out += chunk;
          },
          err: () => undefined,
          outIsTty: false,
          errIsTty: false,
          columns: undefined,
        };
        const text = `process.stdout.write(JSON.stringify({ ok: ${ok}, settings: { dataFolder: ${JSON.stringify(folder)} } }))`;
        const { entry, environment } = await program(folder, text);
        const options = { configPath: undefined, dataDir: undefined, cut: undefined, restored: false, json: true };
        const exitCode = await runDoctorCommand(options, {
          service,
          terminal,
          entry,
          environment,
          bunPinned: undefined,
        });
        return { exitCode, report: JSON.parse(out) };
      };
      const well = await run(true);
      // A temporary folder may lie in memory on the machine that runs this, which doctor rightly calls a failure.
      const inMemory = well.report.findings.some(({ message }: { message: string }) => message === 'tmpfs');
      expect(well.exitCode).toBe(inMemory ? 1 : 0);
      expect(well.report.dataDir).toBe(folder);
      expect((await run(false)).exitCode).toBe(1);
    }));
});
