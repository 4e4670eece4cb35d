import { expect, test } from 'bun:test';
import { isNoScript, problemOf } from './redis-problem.ts';

function reply(message: string): Error {
  const error = new Error(message);
  error.name = 'ReplyError';
  return error;
}

test('errors are sorted by their code, inside a script of an older server too', () => {
  const reasons = {
    "OOM command not allowed when used memory > 'maxmemory'. script: 1a2b": 'full',
    'ERR Error running script (call to f_1a2b): @user_script:9: @user_script: 9: -OOM command not allowed': 'full',
    'MISCONF Redis is configured to save RDB snapshots': 'full',
    "READONLY You can't write against a read only replica.": 'readonly',
    'LOADING Redis is loading the dataset in memory': 'loading',
    'WRONGPASS invalid username-password pair': 'not_permitted',
    'NOPERM this user has no permissions': 'not_permitted',
    "CROSSSLOT Keys in request don't hash to the same slot": 'cluster',
    'WRONGTYPE Operation against a key holding the wrong kind of value': 'wrong_value',
    'BUSY Redis is busy running a script': 'error',
    'ERR something new': 'error',
  };
  for (const [message, reason] of Object.entries(reasons))
    expect(problemOf(reply(message)).reason).toBe(reason as never);
  expect(problemOf(new Error('connect ECONNREFUSED 127.0.0.1:1'))).toEqual({
    reason: 'disconnected',
    message: 'connect ECONNREFUSED 127.0.0.1:1',
  });
  expect(problemOf('odd')).toEqual({ reason: 'disconnected', message: 'odd' });
  expect(problemOf(reply(`ERR ${'x'.repeat(10_000)}`)).message.length).toBe(201);
});

test('a server that does not know AUTH repeats the password, and we do not', () => {
  const message = "ERR unknown command 'auth', with args beginning with: 'weir' 'hush\nhush' ";
  expect(problemOf(reply(message))).toEqual({ reason: 'error', message: "ERR unknown command 'auth'" });
});

test('a script that the server does not know', () => {
  expect(isNoScript(reply('NOSCRIPT No matching script. Please use EVAL.'))).toBe(true);
  expect(isNoScript(reply('ERR unknown'))).toBe(false);
  expect(isNoScript('NOSCRIPT')).toBe(false);
});
