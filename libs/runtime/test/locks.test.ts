import { afterEach, expect, setDefaultTimeout, test } from 'bun:test';
import { existsSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { acquireLock, LockedError, Refusal } from '../src/index.ts';
import { cleanUp, start, temporaryFolder, until } from './harness.ts';

const NOW = { waitMs: 0, label: 'The test folder' };

setDefaultTimeout(60_000);
afterEach(cleanUp);

async function refusalOf(work: Promise<unknown>): Promise<Error> {
  try {
    await work;
  } catch (error) {
    if (error instanceof Refusal) return error;
    throw error;
  }
  throw new Error('It did not refuse');
}

test('a lock that another process holds is refused with its pid, and is free once that process got SIGKILL', async () => {
  const file = join(temporaryFolder(), 'lock');
  const holder = start('lock-holder', file);
  await until(() => holder.stdout().includes('held'), 'the lock to be held');
  const error = await refusalOf(acquireLock(file, NOW));
  expect(error).toBeInstanceOf(LockedError);
  expect((error as LockedError).holderPid).toBe(holder.pid);
  expect(error.message).toStartWith(`The test folder is in use by another process (pid ${holder.pid}): stop it first`);
  holder.kill('SIGKILL');
  await holder.exited;
  (await acquireLock(file, NOW)).release();
});

test('a frozen process keeps its lock, and SIGKILL frees it all the same', async () => {
  const file = join(temporaryFolder(), 'lock');
  const holder = start('lock-holder', file);
  await until(() => holder.stdout().includes('held'), 'the lock to be held');
  holder.kill('SIGSTOP');
  expect(await refusalOf(acquireLock(file, { ...NOW, waitMs: 200 }))).toBeInstanceOf(LockedError);
  const waiting = acquireLock(file, { ...NOW, waitMs: 10_000 });
  holder.kill('SIGKILL');
  (await waiting).release();
});

test('whoever waits gets the lock when its holder lets it go', async () => {
  const file = join(temporaryFolder(), 'lock');
  const holder = start('lock-holder', file);
  await until(() => holder.stdout().includes('held'), 'the lock to be held');
  const waiting = acquireLock(file, { ...NOW, waitMs: 10_000 });
  holder.write('release');
  (await waiting).release();
});

test('of many that wait only one holds the lock at a time', async () => {
  const file = join(temporaryFolder(), 'lock');
  let holding = 0;
  await Promise.all(
    Array.from({ length: 5 }, async () => {
      const lock = await acquireLock(file, { ...NOW, waitMs: 10_000 });
      holding += 1;
      expect(holding).toBe(1);
      await Promise.resolve();
      holding -= 1;
      lock.release();
    }),
  );
});

test('a lock outlives the garbage collection of what was returned, and a second attempt in the same process', async () => {
  const file = join(temporaryFolder(), 'lock');
  await acquireLock(file, NOW);
  for (let i = 0; i < 3; i++) {
    expect(await refusalOf(acquireLock(file, NOW))).toBeInstanceOf(LockedError);
    Bun.gc(true);
  }
  const other = start('lock-holder', file);
  expect(await other.exited).toBe(1);
  await until(() => other.stderr().includes(`(pid ${process.pid})`), 'the holder to be named');
});

test('a lock writes nothing into its file, and releasing it twice is as good as once', async () => {
  const folder = temporaryFolder();
  const file = join(folder, 'lock');
  const lock = await acquireLock(file, NOW);
  expect(statSync(file).size).toBe(0);
  lock.release();
  lock.release();
  expect(readdirSync(folder)).toEqual(['lock']);
});

test('a holder that cannot be read is not named', async () => {
  const file = join(temporaryFolder(), 'lock');
  const lock = await acquireLock(file, NOW);
  for (const content of ['', '{"pid":', '{"pid":1,"startTime":"x"}', `{"pid":${process.pid},"startTime":"other"}`]) {
    writeFileSync(`${file}.holder`, content);
    const error = await refusalOf(acquireLock(file, NOW));
    expect(error.message).toContain('in use by another process: stop it first');
  }
  lock.release();
  expect(existsSync(`${file}.holder`)).toBe(false);
});

test('a file that cannot be locked is refused in one sentence, at once', async () => {
  const folder = temporaryFolder();
  const missing = await refusalOf(acquireLock(join(folder, 'missing', 'lock'), { ...NOW, waitMs: 60_000 }));
  expect(missing).not.toBeInstanceOf(LockedError);
  expect(missing.message).toStartWith('The test folder cannot be locked: ');
  const file = join(folder, 'lock');
  writeFileSync(file, 'x'.repeat(4_096));
  const garbage = await refusalOf(acquireLock(file, { ...NOW, waitMs: 60_000 }));
  expect(garbage).not.toBeInstanceOf(LockedError);
  expect(garbage.message).toContain('file is not a database');
});
