import { expect, test } from 'bun:test';
import { helpText, type Options, PARTS, parseOptions, serverEnvironment } from './config.ts';

function options(...args: string[]): Options {
  const parsed = parseOptions(args);
  if (parsed.kind !== 'options') throw new Error(JSON.stringify(parsed));
  return parsed.options;
}

test('everything has a default', () => {
  expect(options()).toMatchObject({ rounds: 5, rate: 10_000, connections: 64, profile: false, titles: 'ascii' });
  expect([...options().parts]).toEqual([...PARTS]);
});

test('parts are named, and --idle is one of them', () => {
  expect([...options('--only', 'ws,single').parts]).toEqual(['single', 'ws']);
  expect([...options('--idle').parts]).toEqual(['idle']);
});

test('everything that is wrong is said at once', () => {
  const parsed = parseOptions(['--rounds', '0', '--seconds', 'x', '--only', 'singel', '--titles', 'latin']);
  if (parsed.kind !== 'wrong') throw new Error('was accepted');
  expect(parsed.problems).toHaveLength(4);
  expect(parseOptions(['--rouns', '1']).kind).toBe('wrong');
});

test('the help names every option that is taken', () => {
  for (const name of [
    'rounds',
    'warmup',
    'drain-rate',
    'sockets',
    'only',
    'idle',
    'profile',
    'pin',
    'json',
    'folder',
  ]) {
    expect(helpText()).toContain(`--${name}`);
  }
  expect(parseOptions(['--help']).kind).toBe('help');
});

test('settings of a Weir on this machine do not reach the one that is measured', () => {
  const before = process.env['JOURNAL_BYTES_MAX'];
  process.env['JOURNAL_BYTES_MAX'] = '1';
  try {
    expect(serverEnvironment({ PORT: '1' })).not.toHaveProperty('JOURNAL_BYTES_MAX');
    expect(serverEnvironment({ PORT: '1' })['PORT']).toBe('1');
  } finally {
    if (before === undefined) delete process.env['JOURNAL_BYTES_MAX'];
    else process.env['JOURNAL_BYTES_MAX'] = before;
  }
});
