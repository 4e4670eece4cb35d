import { expect, test } from 'bun:test';
import { anyoneMayWriteWarning, isLoopback } from './open-warning.ts';

test.each([
  ['127.0.0.1', true],
  ['127.1.2.3', true],
  ['::1', true],
  ['[::1]', true],
  ['localhost', true],
  ['LOCALHOST', true],
  ['::ffff:127.0.0.1', true],
  ['0.0.0.0', false],
  ['::', false],
  ['10.0.0.1', false],
  ['127.example.com', false],
  ['1127.0.0.1', false],
  ['localhost.example.com', false],
  ['', false],
])('%s: %p', (hostname, loopback) => {
  expect(isLoopback(hostname)).toBe(loopback);
  expect(anyoneMayWriteWarning(hostname, false) === undefined).toBe(loopback);
  expect(anyoneMayWriteWarning(hostname, true)).toBeUndefined();
});
