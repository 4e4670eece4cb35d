import { afterEach, expect, setDefaultTimeout, test } from 'bun:test';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { identityOf, isRunning } from '../src/identity.ts';
import { REFUSAL_EXIT_CODE } from '../src/index.ts';
import {
  cleanUp,
  fixture,
  mustBeRecorded,
  notes,
  recorded,
  start,
  startSupervisor,
  temporaryFolder,
  until,
  whenReady,
} from './harness.ts';

/** How long an orphan may outlive its supervisor. */
const ORPHAN_LIFE_MS = 10_000;
const PAIR = { accept: 'serve', deliver: 'serve' };

setDefaultTimeout(60_000);
afterEach(cleanUp);

test('each process comes back after SIGKILL, and the other one goes on', async () => {
  const dataDir = temporaryFolder();
  const supervisor = startSupervisor(dataDir, PAIR);
  await whenReady(supervisor);
  for (const [victim, other] of [
    ['accept', 'deliver'],
    ['deliver', 'accept'],
  ] as const) {
    const before = mustBeRecorded(dataDir, victim);
    const untouched = mustBeRecorded(dataDir, other);
    process.kill(before.pid, 'SIGKILL');
    await until(() => (recorded(dataDir, victim)?.pid ?? before.pid) !== before.pid, `${victim} on record again`);
    await until(() => supervisor.stderr().includes(`${victim} is ready again`), `${victim} ready again`);
    expect(mustBeRecorded(dataDir, other)).toEqual(untouched);
    expect(isRunning(untouched)).toBe(true);
    expect(supervisor.stderr()).toContain('signal SIGKILL');
  }
  expect(supervisor.stdout().match(/ready /g)?.length).toBe(1);
});

test('SIGTERM ends the stages in order, with exit code 0 and nothing left on record', async () => {
  const dataDir = temporaryFolder();
  const supervisor = startSupervisor(dataDir, PAIR);
  await whenReady(supervisor);
  supervisor.kill('SIGTERM');
  expect(await supervisor.exited).toBe(0);
  expect(notes(dataDir).slice(2)).toEqual(['accept ending', 'accept ended', 'deliver ending', 'deliver ended']);
  expect(recorded(dataDir, 'accept')).toBeUndefined();
  expect(recorded(dataDir, 'deliver')).toBeUndefined();
});

test('Ctrl-C, which a terminal sends to the whole group (and npm once more), ends everything in order', async () => {
  const dataDir = temporaryFolder();
  const supervisor = startSupervisor(dataDir, PAIR);
  await whenReady(supervisor);
  process.kill(-supervisor.pid, 'SIGINT');
  await until(() => notes(dataDir).includes('accept ending'), 'the first signal to arrive');
  process.kill(-supervisor.pid, 'SIGINT');
  expect(await supervisor.exited).toBe(0);
  expect(notes(dataDir).slice(2)).toEqual(['accept ending', 'accept ended', 'deliver ending', 'deliver ended']);
});

test('a process that ignores SIGTERM is killed at its deadline, and the next stage still ends in order', async () => {
  const dataDir = temporaryFolder();
  const supervisor = startSupervisor(dataDir, { accept: 'deaf', deliver: 'serve' }, { shutdownTimeoutMs: 3_000 });
  await whenReady(supervisor);
  supervisor.kill('SIGTERM');
  expect(await supervisor.exited).toBe(1);
  await until(() => supervisor.stderr().includes('accept did not end in time and is killed'), 'the reason');
  expect(supervisor.stderr()).toContain('accept did not end in time and is killed');
  expect(notes(dataDir).slice(-2)).toEqual(['deliver ending', 'deliver ended']);
});

test('a second signal ends everything at once', async () => {
  const dataDir = temporaryFolder();
  const supervisor = startSupervisor(dataDir, { accept: 'deaf', deliver: 'serve' }, { shutdownTimeoutMs: 60_000 });
  await whenReady(supervisor);
  const children = [mustBeRecorded(dataDir, 'accept'), mustBeRecorded(dataDir, 'deliver')];
  supervisor.kill('SIGTERM');
  await until(() => notes(dataDir).includes('accept ending'), 'the first signal to arrive');
  await until(() => {
    if (identityOf(supervisor.pid) !== undefined) supervisor.kill('SIGTERM');
    return identityOf(supervisor.pid) === undefined;
  }, 'the supervisor to end');
  expect(await supervisor.exited).toBe(143);
  await until(() => !children.some(isRunning), 'the children to end');
});

test('children end within ten seconds of a supervisor that got SIGKILL, even one whose event loop is busy', async () => {
  const dataDir = temporaryFolder();
  const supervisor = startSupervisor(dataDir, { accept: 'busy', deliver: 'serve' });
  await whenReady(supervisor);
  const children = [mustBeRecorded(dataDir, 'accept'), mustBeRecorded(dataDir, 'deliver')];
  await until(() => notes(dataDir).includes('accept busy'), 'accept to be busy');
  supervisor.kill('SIGKILL');
  await until(() => !children.some(isRunning), 'the orphans to end', ORPHAN_LIFE_MS);
  expect(notes(dataDir)).toContain('deliver ended');
  expect(notes(dataDir)).not.toContain('accept ending');
});

test('a frozen orphan is ended by the next supervisor, which then starts', async () => {
  const dataDir = temporaryFolder();
  const first = startSupervisor(dataDir, PAIR);
  await whenReady(first);
  const frozen = mustBeRecorded(dataDir, 'accept');
  process.kill(frozen.pid, 'SIGSTOP');
  first.kill('SIGKILL');
  await first.exited;
  expect(isRunning(frozen)).toBe(true);
  const second = startSupervisor(dataDir, PAIR);
  await whenReady(second);
  expect(isRunning(frozen)).toBe(false);
  expect(second.stderr()).toContain(`accept (pid ${frozen.pid})`);
  expect(mustBeRecorded(dataDir, 'accept').pid).not.toBe(frozen.pid);
});

test('only the recorded process is killed, not another one that got its pid', async () => {
  const dataDir = temporaryFolder();
  const stranger = Bun.spawn(['sleep', '60']);
  const orphan = Bun.spawn(['sleep', '60']);
  try {
    const [strangerNow, orphanNow] = [identityOf(stranger.pid), identityOf(orphan.pid)];
    const former = startSupervisor(dataDir, PAIR);
    await whenReady(former);
    former.kill('SIGTERM');
    await former.exited;
    const processes = [
      { name: 'accept', pid: stranger.pid, startTime: `1${strangerNow?.startTime}` },
      { name: 'deliver', ...orphanNow },
    ];
    writeFileSync(join(dataDir, 'run', 'processes.json'), JSON.stringify({ version: 1, processes }));
    const supervisor = startSupervisor(dataDir, PAIR);
    await whenReady(supervisor);
    await orphan.exited;
    expect(orphan.signalCode).toBe('SIGKILL');
    expect(identityOf(stranger.pid)).toEqual(strangerNow);
  } finally {
    stranger.kill();
    orphan.kill();
  }
});

test('a child that was never let go touches nothing and ends with its parent', async () => {
  const dataDir = temporaryFolder();
  const parent = start('silent-parent', dataDir, fixture('child'));
  await until(() => parent.stdout().includes('\n'), 'the child to be started');
  const child = identityOf(Number(parent.stdout()));
  if (child === undefined) throw new Error('The child is not there');
  parent.kill('SIGKILL');
  await until(() => !isRunning(child), 'the child to end', ORPHAN_LIFE_MS);
  expect(notes(dataDir)).toEqual([]);
});

test('a refusal is printed once, ends the others in order, and is the exit code', async () => {
  const dataDir = temporaryFolder();
  const supervisor = startSupervisor(dataDir, { accept: 'serve', deliver: 'refuse' });
  expect(await supervisor.exited).toBe(REFUSAL_EXIT_CODE);
  await until(() => supervisor.stderr().includes('The moon is in the wrong phase'), 'the sentence');
  const lines = supervisor.stderr().split('\n');
  expect(lines.filter((line) => line === 'The moon is in the wrong phase: wait for the next one.').length).toBe(1);
  expect(notes(dataDir).filter((note) => note === 'deliver began').length).toBe(1);
  expect(supervisor.stdout()).toBe('');
  expect(recorded(dataDir, 'accept')).toBeUndefined();
});

test('a process that crashes at its start is tried again, with its reason in the log, and disturbs nobody', async () => {
  const dataDir = temporaryFolder();
  const supervisor = startSupervisor(
    dataDir,
    { accept: 'crash', deliver: 'serve' },
    { extra: { name: 'absent', argv: [join(dataDir, 'no-such-program')] } },
  );
  await until(() => notes(dataDir).filter((note) => note === 'accept began').length >= 4, 'four attempts');
  const crashes = supervisor
    .stderr()
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as Record<string, unknown>)
    .filter((line) => line['process'] === 'accept' && line['restartInMs'] !== undefined);
  expect(crashes.slice(0, 3).map((line) => [line['reason'], line['restartInMs']])).toEqual([
    ['exit code 3', 50],
    ['exit code 3', 100],
    ['exit code 3', 200],
  ]);
  expect(supervisor.stderr()).toContain('it cannot be started');
  expect(notes(dataDir).filter((note) => note === 'deliver began').length).toBe(1);
  supervisor.kill('SIGTERM');
  await supervisor.exited;
  expect(notes(dataDir)).toContain('deliver ended');
});

test('a second supervisor on the same folder refuses with the pid of the first', async () => {
  const dataDir = temporaryFolder();
  const first = startSupervisor(dataDir, PAIR);
  await whenReady(first);
  const accept = mustBeRecorded(dataDir, 'accept');
  const second = startSupervisor(dataDir, PAIR);
  expect(await second.exited).toBe(REFUSAL_EXIT_CODE);
  await until(() => second.stderr().includes('\n'), 'the sentence');
  expect(second.stderr()).toContain(`is in use by another process (pid ${first.pid})`);
  expect(second.stderr().trim().split('\n').length).toBe(1);
  expect(isRunning(accept)).toBe(true);
});

test('what the caller finds out before the start refuses before anything is started', async () => {
  const dataDir = temporaryFolder();
  const supervisor = startSupervisor(dataDir, PAIR, { portTaken: true });
  expect(await supervisor.exited).toBe(REFUSAL_EXIT_CODE);
  await until(() => supervisor.stderr().includes('\n'), 'the sentence');
  expect(supervisor.stderr()).toBe('Port 3001 is taken: stop what listens there, or set PORT.\n');
  expect(notes(dataDir)).toEqual([]);
});

test('a data folder that cannot be used is refused in one sentence', async () => {
  const file = join(temporaryFolder(), 'a-file');
  writeFileSync(file, '');
  const supervisor = startSupervisor(join(file, 'data'), PAIR);
  expect(await supervisor.exited).toBe(REFUSAL_EXIT_CODE);
  await until(() => supervisor.stderr().includes('\n'), 'the sentence');
  expect(supervisor.stderr()).toMatch(/^The data folder .* cannot be used \(.*ENOTDIR.*\): make it writable/);
});

test('a record that cannot be read does not keep a supervisor from starting', async () => {
  const dataDir = temporaryFolder();
  const former = startSupervisor(dataDir, PAIR);
  await whenReady(former);
  former.kill('SIGTERM');
  await former.exited;
  for (const garbage of ['', '{"processes": 7}', '{"processes": [null, {"pid": -1}, {"pid": 1, "startTime": "x"}]}']) {
    writeFileSync(join(dataDir, 'run', 'processes.json'), garbage);
    const supervisor = startSupervisor(dataDir, PAIR);
    await whenReady(supervisor);
    supervisor.kill('SIGTERM');
    expect(await supervisor.exited).toBe(0);
  }
  expect(readFileSync(join(dataDir, 'run', 'processes.json'), 'utf8')).toContain('"processes":[]');
});
