import { expect, test } from 'bun:test';
import { createLineLogger } from './line-logger.ts';
import { scrubUrls } from './log-destination.ts';
import { CENSOR, createLogger, type Logger, type LoggerOptions, SECRET_FIELDS } from './logger.ts';

type Line = Record<string, unknown>;

function capture(
  create: (options: LoggerOptions) => Logger,
  level: LoggerOptions['level'],
): { log: Logger; lines: Line[] } {
  const lines: Line[] = [];
  const log = create({ level, name: 'accept', destination: { write: (line) => lines.push(JSON.parse(line) as Line) } });
  return { log, lines };
}

for (const create of [createLogger, createLineLogger]) {
  test(`${create.name} writes one JSON object a line, with level, ISO time, process, fields and message`, () => {
    const { log, lines } = capture(create, 'info');
    log.info({ recovered: 7 }, 'recovery is done');
    log.child({ requestId: 'r-1' }).warn({ text: 'two\nlines' }, 'careful');
    expect(lines.map(({ time: _time, ...rest }) => rest)).toEqual([
      { level: 'info', pid: process.pid, name: 'accept', recovered: 7, msg: 'recovery is done' },
      { level: 'warn', pid: process.pid, name: 'accept', requestId: 'r-1', text: 'two\nlines', msg: 'careful' },
    ]);
    for (const { time } of lines) expect(new Date(String(time)).toISOString()).toBe(String(time));
  });

  test(`${create.name} keeps what is below its level to itself`, () => {
    const { log, lines } = capture(create, 'warn');
    for (const method of ['trace', 'debug', 'info', 'warn', 'error', 'fatal'] as const) log[method]({}, method);
    expect(lines.map((line) => line['msg'])).toEqual(['warn', 'error', 'fatal']);
    expect(log.isLevelEnabled('info')).toBe(false);
    expect(log.isLevelEnabled('warn')).toBe(true);
    const silent = capture(create, 'silent');
    silent.log.fatal({}, 'unheard');
    expect(silent.lines).toEqual([]);
  });

  test(`${create.name} keeps what an error says`, () => {
    const { log, lines } = capture(create, 'info');
    log.error({ error: new TypeError('it broke') }, 'failed');
    log.error({ error: 'a plain reason' }, 'failed');
    const [first, second] = lines.map((line) => line['error']);
    expect(first).toMatchObject({ type: 'TypeError', message: expect.stringContaining('it broke') });
    expect(String((first as Line)['stack'])).toContain('logger.test.ts');
    expect(second).toBe('a plain reason');
  });
}

test('secrets never reach the log, at any of the first three levels, nor through a child', () => {
  const { log, lines } = capture(createLogger, 'info');
  for (const name of SECRET_FIELDS) {
    log.info({ [name]: 's3cret', a: { [name]: 's3cret', b: { [name]: 's3cret' } }, kept: 'yes' }, 'request');
    log.child({ headers: { [name]: 's3cret' } }).info({}, 'from a child');
  }
  expect(lines.length).toBe(2 * SECRET_FIELDS.length);
  expect(JSON.stringify(lines)).not.toContain('s3cret');
  expect(lines[0]).toMatchObject({ authorization: CENSOR, a: { authorization: CENSOR }, kept: 'yes' });
});

test('URLs lose their credentials, and nothing else changes', () => {
  expect(scrubUrls('redis://user:p4ss@host:6379/0 and https://host/a@b')).toBe(
    'redis://[redacted]@host:6379/0 and https://host/a@b',
  );
  expect(scrubUrls('{"url":"postgres://:p4ss@db/x","mail":"a@b.c"}')).toBe(
    '{"url":"postgres://[redacted]@db/x","mail":"a@b.c"}',
  );
  const plain = 'no address here: // @ ://';
  expect(scrubUrls(plain)).toBe(plain);
});
