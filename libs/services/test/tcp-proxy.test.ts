import { describe, expect, test } from 'bun:test';
import { lacks, startRedis, startTcpProxy } from '../src/index.ts';
import { until } from '../src/until.ts';
import { redis } from './redis-client.ts';

describe.skipIf(lacks({ start: ['redis'] }))('a proxy before a real server', () => {
  test('passes bytes on, and can be silent, refusing, resetting and slow', async () => {
    await using server = await startRedis();
    await using proxy = await startTcpProxy({ host: '127.0.0.1', port: server.port });
    expect(await redis(proxy.port, 'PING')).toBe('+PONG');

    await proxy.fault({ kind: 'silent' });
    const reply = redis(proxy.port, 'PING');
    expect(await until(() => proxy.connections() === 1, 10_000)).toBe(true);
    expect(await redis(server.port, 'INFO commandstats')).toContain('cmdstat_ping:calls=1,');
    expect(Bun.peek.status(reply)).toBe('pending');
    await proxy.fault({ kind: 'none' });
    expect(await reply).toBe('+PONG');

    await proxy.fault({ kind: 'refusing' });
    expect(await redis(proxy.port, 'PING')).toBeUndefined();
    await proxy.fault({ kind: 'resetting' });
    expect(await redis(proxy.port, 'PING')).toBeUndefined();
    await proxy.fault({ kind: 'slow', delayMs: 20 });
    expect(await redis(proxy.port, 'PING')).toBe('+PONG');
    expect(await until(() => proxy.connections() === 0, 10_000)).toBe(true);
  });

  test('many bytes arrive whole and in order, also when they are slow', async () => {
    await using server = await startRedis();
    await using proxy = await startTcpProxy({ host: '127.0.0.1', port: server.port });
    await redis(server.port, 'SETRANGE big 2000000 end');
    await proxy.fault({ kind: 'slow', delayMs: 1 });
    const reply = (await redis(proxy.port, 'GET big')) ?? '';
    expect(reply).toStartWith('$2000003\r\n');
    expect(reply).toEndWith('end');
    expect(reply.length).toBe('$2000003\r\n'.length + 2_000_003);
  });

  test('open connections can be reset while new ones pass', async () => {
    await using server = await startRedis();
    await using proxy = await startTcpProxy({ host: '127.0.0.1', port: server.port });
    const { promise, resolve } = Promise.withResolvers<unknown>();
    const end = (_socket: unknown, error?: unknown) => resolve(error);
    await Bun.connect({ hostname: '127.0.0.1', port: proxy.port, socket: { data() {}, close: end, error: end } });
    expect(await until(() => proxy.connections() === 1, 10_000)).toBe(true);
    proxy.resetConnections();
    await promise;
    expect(proxy.connections()).toBe(0);
    expect(await redis(proxy.port, 'PING')).toBe('+PONG');
  });
});
