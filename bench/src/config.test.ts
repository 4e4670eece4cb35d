import { expect, test } from 'bun:test';
import { helpText, type Options, type PartOption, parseOptions, serverEnvironment } from './config.ts';

const part = (name: string, set: PartOption['set'], seconds: number): PartOption => ({
  name,
  what: `measures ${name}`,
  set,
  seconds: () => seconds,
});
const PARTS = [
  part('single', 'core', 40),
  part('ws', 'core', 100),
  part('sizes', 'full', 600),
  part('soak', 'named', 1_800),
];

function options(...args: string[]): Options {
  const parsed = parseOptions(args, PARTS);
  if (parsed.kind !== 'options') throw new Error(JSON.stringify(parsed));
  return parsed.options;
}

test('everything has a default', () => {
  expect(options()).toMatchObject({ rounds: 5, rate: 10_000, connections: 64, profile: false, titles: 'ascii' });
  expect([...options().parts]).toEqual(['single', 'ws']);
});

test('parts are named, or come in sets', () => {
  expect([...options('--only', 'ws,single').parts].toSorted()).toEqual(['single', 'ws']);
  expect([...options('--only', 'soak').parts]).toEqual(['soak']);
  expect([...options('--full').parts]).toEqual(['single', 'ws', 'sizes']);
});

test('docs can be asked for, and are what saved results are for', () => {
  expect(options()).toMatchObject({ docs: false, from: [] });
  expect(options('--docs').docs).toBe(true);
  expect(options('--from', 'a.json', '--from', 'b.json')).toMatchObject({ docs: true, from: ['a.json', 'b.json'] });
});

test('everything that is wrong is said at once', () => {
  const parsed = parseOptions(['--rounds', '0', '--seconds', 'x', '--only', 'singel', '--titles', 'latin'], PARTS);
  if (parsed.kind !== 'wrong') throw new Error('was accepted');
  expect(parsed.problems).toHaveLength(4);
  expect(parseOptions(['--rouns', '1'], PARTS).kind).toBe('wrong');
});

test('the help names every option that is taken, and says how long each part takes', () => {
  const parsed = parseOptions(['--help'], PARTS);
  if (parsed.kind !== 'help') throw new Error('no help');
  const help = helpText(parsed.options, PARTS);
  const names = 'rounds warmup drain-rate outage-seconds sockets only full docs from profile pin json folder'.split(
    ' ',
  );
  for (const name of names) expect(help).toContain(`--${name}`);
  expect(help).toMatch(/ws +2 min +core +measures ws\n/);
  expect(help).toMatch(/sizes +10 min +full/);
  expect(help).toContain('core (2 min), full (12 min with core)');
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
