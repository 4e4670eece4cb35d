import { describe, expect, test } from 'bun:test';
import { HttpError } from '@libs/elysia-server';
import { readAck, readBatchParameters } from './parameters.ts';

function refusal(read: () => unknown): HttpError {
  try {
    read();
  } catch (error) {
    if (error instanceof HttpError) return error;
    throw error;
  }
  return expect.unreachable();
}

describe('readAck', () => {
  test('is journal unless the caller asks for more', () => {
    expect(readAck('http://x/events')).toBe('journal');
    expect(readAck('http://x/events?')).toBe('journal');
    expect(readAck('http://x/events?other=1&another')).toBe('journal');
    expect(readAck('http://x/events?ack=journal')).toBe('journal');
    expect(readAck('http://x/events?a=b&ack=stored')).toBe('stored');
    expect(readAck('http://x/events?ack=%73tored')).toBe('stored');
    expect(readAck('http://x/events?ack=routed')).toBe('routed');
  });

  test.each(['', 'delivered', 'Stored', 'stored ', '%', '%00', 'journal,stored'])('refuses %p by name', (level) => {
    const error = refusal(() => readAck(`http://x/events?ack=${level}`));
    expect(error.status).toBe(400);
    expect(error.code).toBe('invalid_parameter');
    expect(error.details).toEqual({ parameter: 'ack', allowed: ['journal', 'stored', 'routed'] });
  });
});

describe('readBatchParameters', () => {
  test('reads options, and leaves out what was not given', () => {
    expect(readBatchParameters('http://x/events/batch')).toEqual({ ack: 'journal' });
    expect(readBatchParameters('http://x/events/batch?maxSize=10&failOnError=true&ack=stored')).toEqual({
      ack: 'stored',
      maxSize: 10,
      failOnError: true,
    });
    expect(readBatchParameters('http://x/events/batch?failOnError=false')).toEqual({
      ack: 'journal',
      failOnError: false,
    });
  });

  test.each(['0', '-1', '1.5', '1e3', '', 'ten', '99999999999999999999', '٣'])('refuses maxSize=%p', (value) => {
    const error = refusal(() => readBatchParameters(`http://x/events/batch?maxSize=${value}`));
    expect([error.status, error.code, error.details?.['parameter']]).toEqual([400, 'invalid_parameter', 'maxSize']);
  });

  test.each(['', '1', 'TRUE', 'yes'])('refuses failOnError=%p', (value) => {
    const error = refusal(() => readBatchParameters(`http://x/events/batch?failOnError=${value}`));
    expect(error.details).toEqual({ parameter: 'failOnError', allowed: ['true', 'false'] });
  });
});
