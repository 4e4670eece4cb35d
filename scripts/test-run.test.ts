import { expect, test } from 'bun:test';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runFile } from './test-run.ts';

async function run(text: string) {
  const folder = mkdtempSync(join(tmpdir(), 'weir-test-run-'));
  try {
    const imports = `import { beforeAll, afterAll, describe, expect, test } from 'bun:test';\n`;
    writeFileSync(join(folder, 'one.test.ts'), imports + text);
    return await runFile(folder, 'one.test.ts', { LACKING: 'yes' });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const suite = `describe.skipIf(process.env.LACKING === 'yes')('needs a server', () => {
  beforeAll(() => {});
  afterAll(() => {});
  test('one', () => {});
  test('two', () => {});
});\n`;

test('what passes', async () => {
  expect(await run(`test('one', () => {}); test('two', () => {});`)).toMatchObject({
    ...{ verdict: 'ok  ', passed: 2, failed: 0, skipped: 0, skipReasons: [] },
  });
});

test('a skipped suite counts its tests, not its hooks, says why, and passes nothing', async () => {
  const reason = 'skipped: no redis here; to run these tests: npm run services -- install';
  expect(await run(`process.stderr.write('${reason}\\n');\n${suite}`)).toMatchObject({
    ...{ verdict: 'skip', passed: 0, failed: 0, skipped: 2, skipReasons: [reason] },
  });
});

test('a failure beside a skip is a failure', async () => {
  expect(await run(`${suite}test('three', () => expect(1).toBe(2));`)).toMatchObject({
    ...{ verdict: 'FAIL', passed: 0, failed: 1, skipped: 2 },
  });
});

test('a file that dies counts as a failure', async () => {
  expect(await run(`test('one', () => process.kill(process.pid, 'SIGKILL'));`)).toMatchObject({
    ...{ verdict: 'FAIL', passed: 0, failed: 1 },
  });
  expect(await run('this is no code')).toMatchObject({ verdict: 'FAIL', failed: 1 });
});
