import { describe, expect, test } from 'bun:test';
import { createTimeFormat } from './time-format.ts';

function parse(format: string, text: string, zone?: string) {
  const made = createTimeFormat(format, zone);
  if (!made.ok) throw new Error(made.problem);
  return made.parse(text);
}

describe('time formats', () => {
  test.each([
    ['YYYY-MM-DD HH:mm:ss UTC', '2019-10-01 00:00:01 UTC', undefined, '2019-10-01T00:00:01.000Z'],
    ['YYYY-MM-DDTHH:mm:ss.SSSZ', '2024-02-29T23:59:59.5', undefined, undefined],
    ['YYYY-MM-DDTHH:mm:ss.SSSZ', '2024-02-29T23:59:59.500+02:00', undefined, '2024-02-29T21:59:59.500Z'],
    ['YYYY-MM-DDTHH:mm:ss.SSSSSSZ', '2024-02-29T23:59:59.123456-0530', undefined, '2024-03-01T05:29:59.123456Z'],
    ['DD.MM.YYYY HH:mm', '31.12.1999 23:30', '+01:00', '1999-12-31T22:30:00.000Z'],
    ["DD/MM/YYYY 'at' HH:mm", '31/12/1999 at 23:30', 'UTC', '1999-12-31T23:30:00.000Z'],
    ['YYYYMMDD', '20200101', 'UTC', '2020-01-01T00:00:00.000Z'],
    ['unix_s', '0', undefined, '1970-01-01T00:00:00.000Z'],
    ['unix_s', '1569888001.25', undefined, '2019-10-01T00:00:01.250Z'],
    ['unix_ms', '1569888001250', undefined, '2019-10-01T00:00:01.250Z'],
    ['unix_ms', '1569888001250.5', undefined, undefined],
    ['unix_s', '1e9', undefined, undefined],
    ['unix_ms', '9999999999999999', undefined, undefined],
    ['iso', 'whatever the service says of it', undefined, 'whatever the service says of it'],
  ])('%s: %s', (format, text, zone, expected) => {
    expect(parse(format, text, zone)).toBe(expected as string);
  });

  test.each([
    '2019-02-30 00:00:00 UTC',
    '2019-13-01 00:00:00 UTC',
    '2019-00-01 00:00:00 UTC',
    '2019-10-01 24:00:00 UTC',
    '2019-10-01 23:60:00 UTC',
    '2016-12-31 23:59:60 UTC',
    '2019-10-01 00:00:01 GMT',
    '2019-10-01 00:00:01',
    ' 2019-10-01 00:00:01 UTC',
    '2019-10-1 00:00:01 UTC',
    '2019-10-01T00:00:01 UTC',
    '２０１９-10-01 00:00:01 UTC',
  ])('%s does not fit', (text) => {
    expect(parse('YYYY-MM-DD HH:mm:ss UTC', text)).toBeUndefined();
  });

  test.each([
    ['YYYY-MM-DD', undefined, 'has no zone'],
    ['YYYY-MM-DD UTC', 'UTC', 'names the zone already'],
    ['YYYY-MM UTC', undefined, 'has no day'],
    ['YYYY-MM-DD MM UTC', undefined, 'twice'],
    ['MMM DD YYYY UTC', undefined, 'is no part of a pattern'],
    ['YYYY-MM-DD', 'Europe/Berlin', 'offset such as +02:00'],
    ['YYYY-MM-DD', '+25:00', 'offset such as +02:00'],
    ['unix_ms', 'UTC', 'is for patterns'],
    ['x'.repeat(65), undefined, 'at most 64'],
    ["YYYY-MM-DD 'open UTC", undefined, 'is no part of a pattern'],
  ])('the pattern %s with zone %s is refused', (format, zone, words) => {
    const made = createTimeFormat(format, zone);
    expect(made.ok ? '' : made.problem).toContain(words);
  });

  test('signs of regular expressions are only signs', () => {
    expect(parse('(YYYY).MM+DD*UTC', '(2020).01+02*UTC')).toBe('2020-01-02T00:00:00.000Z');
    expect(parse('(YYYY).MM+DD*UTC', '(2020)x0102UTC')).toBeUndefined();
  });
});
