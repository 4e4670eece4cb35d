import { expect, test } from 'bun:test';
import { identityOf, isRunning, ownIdentity, parseIdentity } from './identity.ts';

test('a process is recognised by pid and start time, whatever its name looks like', async () => {
  // The command name is field 2 of the kernel's line, in brackets, and may hold brackets and blanks itself.
  const child = Bun.spawn(['sh', '-c', 'printf "a) Z 1 (" >/proc/self/comm; echo; read -r line'], {
    stdin: 'pipe',
    stdout: 'pipe',
  });
  await child.stdout.getReader().read();
  const identity = identityOf(child.pid);
  if (identity === undefined) throw new Error('The process is not there');
  expect(isRunning(identity)).toBe(true);
  expect(isRunning({ ...identity, startTime: `${identity.startTime}0` })).toBe(false);
  process.kill(child.pid, 'SIGSTOP');
  expect(isRunning(identity)).toBe(true);
  process.kill(child.pid, 'SIGKILL');
  await child.exited;
  expect(isRunning(identity)).toBe(false);
  expect(identityOf(child.pid)).toBeUndefined();
});

test('a zombie does not run: its locks are gone', async () => {
  // The shell's child ends while the program that the shell has become never asks for its exit code.
  const parent = Bun.spawn(['sh', '-c', 'sleep 0.01 & echo $!; exec sleep 60'], { stdout: 'pipe' });
  try {
    const { value } = await parent.stdout.getReader().read();
    const pid = Number(new TextDecoder().decode(value));
    const stat = () => Bun.file(`/proc/${pid}/stat`).text();
    while (!(await stat()).includes(') Z ')) await Bun.sleep(5);
    expect(identityOf(pid)).toBeUndefined();
  } finally {
    parent.kill();
  }
});

test('this process has an identity that survives JSON', () => {
  const own = ownIdentity();
  expect(own.pid).toBe(process.pid);
  expect(parseIdentity(JSON.parse(JSON.stringify(own)))).toEqual(own);
});

test('what is no identity is none: nobody may be killed by it', () => {
  for (const value of [null, 7, 'x', [], {}, { pid: 1, startTime: 'x' }, { pid: -5, startTime: 'x' }]) {
    expect(parseIdentity(value)).toBeUndefined();
  }
  for (const value of [
    { pid: 2.5, startTime: 'x' },
    { pid: '7', startTime: 'x' },
    { pid: 7 },
    { pid: 7, startTime: '' },
  ]) {
    expect(parseIdentity(value)).toBeUndefined();
  }
});
