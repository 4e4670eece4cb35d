import { expect, test } from 'bun:test';
import { parseRedisUrl } from './redis-url.ts';

test('host, port, database, user and password', () => {
  expect(parseRedisUrl('redis://cache')).toEqual({ host: 'cache', port: 6379, db: 0, isTls: false });
  expect(parseRedisUrl('redis://cache/')).toEqual({ host: 'cache', port: 6379, db: 0, isTls: false });
  expect(parseRedisUrl('rediss://weir:p%40ss%2F%C3%A9@cache.example:7000/12')).toEqual({
    host: 'cache.example',
    port: 7000,
    db: 12,
    username: 'weir',
    password: 'p@ss/é',
    isTls: true,
  });
  expect(parseRedisUrl('redis://:secret@[::1]:1/0')).toEqual({
    host: '::1',
    port: 1,
    db: 0,
    password: 'secret',
    isTls: false,
  });
});

test('what is wrong is said, and the password is not', () => {
  const wrong: Readonly<Record<string, string>> = {
    '': 'is no URL',
    'cache:6379:hunter2': 'begins with cache://',
    'http://:hunter2@cache': 'begins with http://',
    'redis:///3': 'names no host',
    'redis://:hunter2@cache/name': 'no database number',
    'redis://:hunter2@cache/1/2': 'no database number',
    'redis://:hunter2@cache?db=1': 'a query or a fragment',
    'redis://:hunter2%zz@cache': 'not percent-encoded',
    'redis://cache:hunter2@': 'is no URL',
  };
  for (const [url, problem] of Object.entries(wrong)) {
    const parse = () => parseRedisUrl(url);
    expect(parse).toThrow(problem);
    expect(parse).toThrow(expect.objectContaining({ name: 'Permanent', code: 'redis_url_invalid' }));
    expect(parse).not.toThrow('hunter2');
  }
});
