/** The settings on their way to the children of a real service. */
import { afterEach, expect, test } from 'bun:test';
import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { settingsFile } from '../src/settings-file.ts';

const ENTRY = join(import.meta.dir, '../src/main.ts');
const TIMEOUT_MS = 60_000;
const folders: string[] = [];
const running = new Set<Bun.Subprocess>();

afterEach(async () => {
  for (const child of running) {
    child.kill();
    await child.exited;
  }
  running.clear();
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

function start(dataFolder: string): Bun.Subprocess<'ignore', 'pipe', 'pipe'> {
  const child = Bun.spawn([process.execPath, ENTRY], {
    env: {
      PATH: process.env['PATH'] ?? '',
      PORT: '0',
      WEIR_DATA_DIR: dataFolder,
      DISK_RESERVE_BYTES: '0',
      JWT_SECRET: 'hush'.repeat(8),
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  running.add(child);
  return child;
}

async function isReady(child: Bun.Subprocess<'ignore', 'pipe', 'pipe'>): Promise<boolean> {
  let text = '';
  for await (const chunk of child.stdout) {
    text += new TextDecoder().decode(chunk);
    if (text.includes('Weir is listening')) return true;
  }
  return false;
}

test(
  'are for the owner’s eyes, stay when another start is refused, and are gone after an orderly end',
  async () => {
    const dataFolder = mkdtempSync(join(tmpdir(), 'weir-settings-'));
    folders.push(dataFolder);
    const file = settingsFile(dataFolder);
    const service = start(dataFolder);
    expect(await isReady(service)).toBe(true);
    expect(statSync(file).mode & 0o777).toBe(0o600);

    const second = start(dataFolder);
    expect(await second.exited).toBe(78);
    expect(existsSync(file)).toBe(true);

    service.kill('SIGTERM');
    expect(await service.exited).toBe(0);
    expect(existsSync(file)).toBe(false);
    expect(existsSync(join(dataFolder, 'journals'))).toBe(true);
  },
  TIMEOUT_MS,
);
