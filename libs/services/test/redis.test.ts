import { describe, expect, test } from 'bun:test';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { lacks, startRedis, useRedis } from '../src/index.ts';
import { processState } from './process-state.ts';
import { redis } from './redis-client.ts';

describe.skipIf(lacks({ start: ['redis'] }))('a Redis of one’s own', () => {
  test('answers as soon as it is started, with the directives that were given', async () => {
    await using server = await startRedis({ config: { maxmemory: '3mb', 'maxmemory-policy': 'noeviction' } });
    expect(server.url).toBe(`redis://127.0.0.1:${server.port}`);
    expect(await redis(server.port, 'PING')).toBe('+PONG');
    expect(await redis(server.port, 'CONFIG GET maxmemory')).toContain('3145728');
  });

  test('with a password, only those who know it are let in, and the URL has it', async () => {
    await using server = await startRedis({ config: { requirepass: 'p@ss' } });
    expect(server.url).toBe(`redis://:p%40ss@127.0.0.1:${server.port}`);
    expect(await redis(server.port, 'PING')).toStartWith('-NOAUTH');
  });

  test('frozen, it takes a connection and answers only once it is thawed', async () => {
    await using server = await startRedis();
    const pid = server.pid() ?? 0;
    await server.freeze();
    expect(processState(pid)).toBe('T');
    const reply = redis(server.port, 'PING');
    expect(Bun.peek.status(reply)).toBe('pending');
    await server.thaw();
    expect(await reply).toBe('+PONG');
  });

  test('killed, it is gone at once; restarted, it is at the same port with what it had written', async () => {
    await using server = await startRedis({ config: { appendonly: 'yes', appendfsync: 'always' } });
    const pid = server.pid() ?? 0;
    await redis(server.port, 'SET kept 1');
    await server.kill();
    expect(server.pid()).toBeUndefined();
    expect(processState(pid)).toBeUndefined();
    expect(await redis(server.port, 'PING')).toBeUndefined();
    await server.restart();
    expect(await redis(server.port, 'GET kept')).toContain('\r\n1');
    await server.restartEmpty();
    expect(await redis(server.port, 'GET kept')).toBe('$-1');
  });

  test('a frozen one can be stopped, killed and started again', async () => {
    await using server = await startRedis();
    await server.freeze();
    await server.stop();
    await server.restart();
    await server.freeze();
    await server.restartEmpty();
    expect(await redis(server.port, 'PING')).toBe('+PONG');
  });

  test('a given folder is kept, and one that cannot start says why', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'weir-services-test-'));
    try {
      await (await startRedis({ folder })).close();
      expect(existsSync(join(folder, 'output.txt'))).toBe(true);
      await expect(startRedis({ config: { maxmemory: 'plenty' } })).rejects.toThrow(/maxmemory/);
      await expect(startRedis({ config: { maxmemory: 'plenty' } })).rejects.toThrow(/redis-server ended/);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  test('to freeze what does not run is a mistake', async () => {
    await using server = await startRedis();
    await server.kill();
    expect(() => server.freeze()).toThrow('does not run');
  });
});

describe('a Redis that the environment names', () => {
  test('is used, and left alone at the end', async () => {
    process.env['WEIR_TEST_REDIS_URL'] = ' redis://127.0.0.1:1 ';
    try {
      const used = await useRedis();
      expect(used.url).toBe('redis://127.0.0.1:1');
      await used.close();
      expect(lacks({ use: ['redis'] })).toBe(false);
    } finally {
      delete process.env['WEIR_TEST_REDIS_URL'];
    }
  });
});
