import { expect, test } from 'bun:test';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileDescriptorDestination } from '../src/index.ts';

function startChatty() {
  return Bun.spawn([process.execPath, join(import.meta.dir, 'fixtures', 'chatty.ts')], {
    stdio: ['pipe', 'pipe', 'pipe'],
  });
}

async function nextLine(reader: { read(): Promise<{ value?: Uint8Array | undefined }> }): Promise<string> {
  const { value } = await reader.read();
  return new TextDecoder().decode(value).trim();
}

test('what was logged before a crash is there, in front of the crash itself', async () => {
  const chatty = startChatty();
  chatty.stdin.write('crash\n');
  chatty.stdin.end();
  const stderr = await new Response(chatty.stderr).text();
  expect(await chatty.exited).toBe(1);
  expect(JSON.parse(stderr.split('\n')[0] ?? '')).toMatchObject({ level: 'info', msg: 'first' });
  expect(JSON.parse(stderr.split('\n')[1] ?? '')).toMatchObject({ line: 'crash', msg: 'more' });
  expect(stderr).toContain('the last words come after the log');
});

test('a log that nobody reads any more does not stop the process', async () => {
  const chatty = startChatty();
  const stdout = chatty.stdout.getReader();
  expect(await nextLine(stdout)).toBe('logged');
  await chatty.stderr.cancel();
  for (const word of ['one', 'two', 'three']) {
    chatty.stdin.write(`${word}\n`);
    chatty.stdin.flush();
    expect(await nextLine(stdout)).toBe(word);
  }
  chatty.stdin.end();
  expect(await chatty.exited).toBe(0);
});

test('lines that were lost are counted in front of the next one that gets through', () => {
  const folder = mkdtempSync(join(tmpdir(), 'weir-log-'));
  const file = join(folder, 'log');
  try {
    const fd = openSync(file, 'w');
    const destination = fileDescriptorDestination(fd);
    closeSync(fd);
    destination.write('{"n":1}\n');
    destination.write('{"n":2}\n');
    // The lowest free descriptor is given out again: the same number now leads to the file.
    expect(openSync(file, 'w')).toBe(fd);
    destination.write('{"n":3}\n');
    destination.write('{"n":4}\n');
    closeSync(fd);
    const lines = readFileSync(file, 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as unknown);
    expect(lines).toEqual([{ level: 'warn', lost: 2, msg: 'log lines were lost' }, { n: 3 }, { n: 4 }]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
