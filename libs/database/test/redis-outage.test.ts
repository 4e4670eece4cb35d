import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from 'bun:test';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createCertificates, freePort, lacks, type Redis, startRedis, startTcpProxy } from '@libs/services';
import { atOnce, eventually, isUp, newKeys, type OpenWindow, openWindow, order } from './redis-testing.ts';

// A machine under load may take its time; `eventually` gives up before this.
setDefaultTimeout(30_000);

const reasonOf = ({ window }: OpenWindow) => window.health().skipping;

describe.skipIf(lacks({ start: ['redis'] }))('the shared window without Redis', () => {
  let redis: Redis;
  beforeEach(async () => {
    redis = await startRedis({ config: { 'enable-debug-command': 'yes', 'repl-diskless-sync-delay': '0' } });
  });
  afterEach(() => redis.close());

  test('frozen: one wait of the time limit, then none; what was claimed unheard is ours and is confirmed or released', async () => {
    await using one = await openWindow(redis.url, { timeoutMs: 50 });
    const [appended = '', refused = ''] = newKeys(2);
    await redis.freeze();
    const answers: string[] = [];
    const note = async (name: string, keys: string[]) => answers.push(`${name} ${(await one.kinds(keys)).join()}`);
    await Promise.all([note('first', [appended]), note('second', [refused])]);
    // Redis is still frozen here: nobody waited for it, and now it is known.
    expect(answers).toEqual(['first skipped', 'second skipped']);
    expect(await atOnce(one.kinds(newKeys(3)))).toEqual(['skipped', 'skipped', 'skipped']);
    const { counters, state, skipping, lastError } = one.window.health();
    expect({ state, skipping, lastError }).toEqual({
      state: 'degraded',
      skipping: 'timeout',
      lastError: 'no answer within 50 ms',
    });
    expect(counters).toMatchObject({ timeouts: 1, claimed: 0, skipped: { timeout: 5 } });
    one.window.confirm([appended]);
    one.window.release([refused]);
    await redis.thaw();
    await eventually(() => isUp(one) && one.window.health().counters.releasesSent === 1);
    expect(one.window.health().counters).toMatchObject({ lateReplies: 2, confirmsSent: 1, confirmsDropped: 0 });
    await using two = await openWindow(redis.url);
    expect(await two.kinds([appended, refused])).toEqual(['duplicate', 'claimed']);
    expect(one.log.map((line) => line.replace(/ \{.*/, ''))).toEqual([
      'Redis cannot be used: events are accepted, and duplicates of other instances are only recognised by the view events',
      'Redis answers again',
    ]);
  });

  test('killed: calls under way and later ones are skipped, the confirms of that time arrive afterwards', async () => {
    await using one = await openWindow(redis.url, { pendingConfirmsMax: 100, idsPerCallMax: 30 });
    await redis.freeze();
    const underWay = one.kinds(newKeys(2));
    await redis.kill();
    expect(await underWay).toEqual(['skipped', 'skipped']);
    await eventually(() => reasonOf(one) === 'disconnected');
    expect(await atOnce(one.kinds(newKeys(1)))).toEqual(['skipped']);
    const keys = newKeys(1_000);
    for (let at = 0; at < 1_000; at += 10) one.window.confirm(keys.slice(at, at + 10));
    expect(one.window.health()).toMatchObject({ state: 'unhealthy', pendingConfirms: 100 });
    expect(one.window.health().counters.confirmsDropped).toBe(900);
    await redis.restart();
    await eventually(() => isUp(one) && one.window.health().pendingConfirms === 0);
    await using two = await openWindow(redis.url);
    const kinds = await two.kinds(keys);
    expect(kinds.slice(0, 900)).toEqual(new Array(900).fill('claimed'));
    expect(kinds.slice(900)).toEqual(new Array(100).fill('duplicate'));
  });

  test('what a lost call carried is confirmed and released by a later one', async () => {
    await using one = await openWindow(redis.url);
    const [durable = '', refused = ''] = newKeys(2);
    await one.window.claim([refused]);
    await redis.freeze();
    one.window.confirm([durable]);
    one.window.release([refused]);
    const underWay = one.kinds(newKeys(1));
    expect(one.window.health().pendingConfirms).toBe(0);
    await redis.kill();
    expect(await underWay).toEqual(['skipped']);
    await eventually(() => one.window.health().pendingConfirms === 1);
    await redis.restart();
    await eventually(() => isUp(one) && one.window.health().counters.releasesSent === 1);
    await using two = await openWindow(redis.url);
    expect(await two.kinds([durable, refused])).toEqual(['duplicate', 'claimed']);
  });

  test('away for long: single confirms do not pile up, and nothing is tried in a tight loop', async () => {
    let waits = 0;
    function random(): number {
      waits += 1;
      return 1;
    }
    await using one = await openWindow(redis.url, { pendingConfirmsMax: 500 }, { random });
    await redis.kill();
    await eventually(() => reasonOf(one) === 'disconnected');
    const beforeBytes = heapBytes();
    for (let at = 0; at < 200_000; at++) one.window.confirm([`store\0${at}`]);
    expect(one.window.health().pendingConfirms).toBe(500);
    expect(heapBytes() - beforeBytes).toBeLessThan(5_000_000);
    // Doubling waits: six of them take at least 50 + 100 + … + 1,600 ms, so few can have begun by now.
    expect(waits).toBeLessThan(20);
  });

  test('restarted empty, and its scripts forgotten: it goes on, and the window begins anew', async () => {
    await using one = await openWindow(redis.url);
    const keys = newKeys(2);
    await one.window.claim(keys);
    one.window.confirm(keys);
    await redis.restartEmpty();
    await eventually(() => isUp(one));
    await eventually(async () => (await one.kinds(newKeys(1)))[0] === 'claimed');
    order(redis.url, 'SCRIPT', 'FLUSH');
    expect(await one.kinds(newKeys(2))).toEqual(['claimed', 'claimed']);
  });

  test('large numbers that are confirmed at start wait while it is away', async () => {
    await using one = await openWindow(redis.url, { idsPerCallMax: 50 });
    await redis.kill();
    await eventually(() => reasonOf(one) === 'disconnected');
    const keys = newKeys(500);
    const done = one.window.confirmAll([keys], new AbortController().signal);
    const stop = new AbortController();
    const stopped = one.window.confirmAll([keys], stop.signal);
    stop.abort(new Error('enough'));
    expect(stopped).rejects.toThrow('enough');
    const closed = await openWindow(redis.url);
    const left = closed.window.confirmAll([keys], new AbortController().signal);
    await closed.crash();
    expect(left).rejects.toThrow('the dedupe window was closed');
    await redis.restart();
    expect(await done).toBe(500);
    await eventually(() => isUp(one) && one.window.health().pendingConfirms === 0);
    expect(await one.kinds(keys)).toEqual(new Array(500).fill('duplicate'));
  });

  test('full: writes are refused, so ids are skipped until there is room', async () => {
    await using one = await openWindow(redis.url);
    order(redis.url, 'CONFIG', 'SET', 'maxmemory-policy', 'noeviction');
    order(redis.url, 'CONFIG', 'SET', 'maxmemory', '1');
    const keys = newKeys(2);
    expect(await one.kinds(keys)).toEqual(['skipped', 'skipped']);
    one.window.confirm(keys);
    expect(await atOnce(one.kinds(keys))).toEqual(['skipped', 'skipped']);
    expect(one.window.health()).toMatchObject({
      state: 'unhealthy',
      skipping: 'full',
      lastError: 'Redis refuses writes (memory or disk) (OOM)',
      pendingConfirms: 2,
    });
    order(redis.url, 'CONFIG', 'SET', 'maxmemory', '0');
    await eventually(() => isUp(one) && one.window.health().pendingConfirms === 0);
    expect(await one.kinds(keys)).toEqual(['duplicate', 'duplicate']);
  });

  test('failing over: a replica is not written to, and the next primary behind the same address is found', async () => {
    await using replica = await startRedis();
    await using proxy = await startTcpProxy({ host: '127.0.0.1', port: redis.port });
    await using one = await openWindow(`redis://127.0.0.1:${proxy.port}`);
    const keys = newKeys(2);
    await one.window.claim(keys);
    one.window.confirm(keys);
    await eventually(() => one.window.health().pendingConfirms === 0);
    order(replica.url, 'REPLICAOF', '127.0.0.1', String(redis.port));
    await eventually(() => order(replica.url, 'EVAL_RO', "return #redis.call('KEYS', '*')", '0') === '3');
    // The primary that we talk to becomes a replica of the other one, as a failover makes it.
    order(replica.url, 'REPLICAOF', 'NO', 'ONE');
    order(redis.url, 'REPLICAOF', '127.0.0.1', String(replica.port));
    expect(await one.kinds(newKeys(1))).toEqual(['skipped']);
    expect(one.window.health()).toMatchObject({ state: 'unhealthy', skipping: 'readonly' });
    proxy.target = { host: '127.0.0.1', port: replica.port };
    await eventually(() => isUp(one));
    expect(await one.kinds([...keys, ...newKeys(1)])).toEqual(['duplicate', 'duplicate', 'claimed']);
  });

  test('slow: after one wait nobody waits until it is quick again', async () => {
    await using proxy = await startTcpProxy({ host: '127.0.0.1', port: redis.port });
    await using one = await openWindow(`redis://127.0.0.1:${proxy.port}`, { timeoutMs: 100 });
    await proxy.fault({ kind: 'slow', delayMs: 300 });
    expect(await one.kinds(newKeys(1))).toEqual(['skipped']);
    await eventually(async () => {
      expect(await atOnce(one.kinds(newKeys(1)))).toEqual(['skipped']);
      // The late reply, and then that of a probe which was too slow as well.
      return one.window.health().counters.timeouts >= 2 && one.window.health().counters.lateReplies >= 2;
    });
    await proxy.fault({ kind: 'none' });
    await eventually(() => isUp(one));
    expect(await one.kinds(newKeys(1))).toEqual(['claimed']);
  });

  test('silent, refusing and resetting connections: skipped, and back by itself', async () => {
    await using proxy = await startTcpProxy({ host: '127.0.0.1', port: redis.port });
    const url = `redis://127.0.0.1:${proxy.port}`;
    await using one = await openWindow(url, { timeoutMs: 100, silenceMaxMs: 300, connectTimeoutMs: 500 });
    for (const kind of ['silent', 'refusing', 'resetting'] as const) {
      await proxy.fault({ kind });
      expect(await one.kinds(newKeys(1))).toEqual(['skipped']);
      // A connection that is silent for too long is given up, and a new one is tried.
      await eventually(() => reasonOf(one) === 'disconnected');
      expect(await atOnce(one.kinds(newKeys(1)))).toEqual(['skipped']);
      await proxy.fault({ kind: 'none' });
      await eventually(() => isUp(one));
      expect(await one.kinds(newKeys(1))).toEqual(['claimed']);
    }
  });

  test('loading its data: skipped until it is done', async () => {
    await using one = await openWindow(redis.url);
    const keys = newKeys(3_000);
    await one.window.confirmAll([keys], new AbortController().signal);
    order(redis.url, 'CONFIG', 'SET', 'loading-process-events-interval-bytes', '1024');
    order(redis.url, 'CONFIG', 'SET', 'key-load-delay', '500');
    const reload = Bun.spawn(['redis-cli', '-u', redis.url, 'DEBUG', 'RELOAD'], { stdout: 'ignore' });
    const reasons = new Set<string | undefined>();
    await eventually(async () => {
      await one.window.claim(newKeys(1));
      return reasons.add(reasonOf(one)).has('loading');
    });
    order(redis.url, 'CONFIG', 'SET', 'key-load-delay', '0');
    await reload.exited;
    await eventually(() => isUp(one));
    expect(await one.kinds(keys.slice(0, 2))).toEqual(['duplicate', 'duplicate']);
  });

  test('a key that holds something else: that call is skipped, the rest goes on', async () => {
    await using one = await openWindow(redis.url, { keyPrefix: 'p:' });
    order(redis.url, 'RPUSH', 'p:list', 'x');
    order(redis.url, 'SET', 'p:eternal', 'x');
    const waiting = newKeys(1);
    for (const foreign of ['list', 'eternal']) {
      one.window.confirm(waiting);
      expect(await one.kinds([foreign, ...newKeys(1)])).toEqual(['skipped', 'skipped']);
      expect(await atOnce(one.kinds(newKeys(1)))).toBe('later');
      expect(await one.kinds([...waiting, ...newKeys(1)])).toEqual(['duplicate', 'claimed']);
    }
    one.window.release(['list']);
    expect(await one.kinds(newKeys(1))).toEqual(['claimed']);
    expect(one.window.health()).toMatchObject({ state: 'healthy', pendingConfirms: 0 });
    expect(one.window.health().counters.skipped.wrong_value).toBe(4);
  });
});

describe.skipIf(lacks({ start: ['redis'] }))('who may use Redis', () => {
  test('a wrong password is skipped and told without showing it; once it is right, all is well', async () => {
    await using redis = await startRedis({ config: { requirepass: 'right-one' } });
    const url = redis.url.replace('right-one', 'wr%C3%B6ng');
    await using one = await openWindow(url);
    await using none = await openWindow(`redis://127.0.0.1:${redis.port}`);
    expect(await atOnce(one.kinds(newKeys(1)))).toEqual(['skipped']);
    expect(one.window.health()).toMatchObject({ state: 'unhealthy', skipping: 'not_permitted' });
    expect(none.window.health()).toMatchObject({ state: 'unhealthy', skipping: 'not_permitted' });
    expect(JSON.stringify([one.window.health(), one.log])).not.toContain('wröng');
    order(redis.url, 'CONFIG', 'SET', 'requirepass', 'wröng');
    await eventually(() => isUp(one));
    await using right = await openWindow(url.replace('wr%C3%B6ng', 'right-one'));
    expect(right.window.health().skipping).toBe('not_permitted');
  });

  test('a user with just the commands that are needed, another database, a password that nobody asked for', async () => {
    await using redis = await startRedis();
    order(
      redis.url,
      'ACL',
      'SETUSER',
      'weir',
      'on',
      '>se:cret/1',
      '~weir:d:*',
      '+eval',
      '+evalsha',
      '+ping',
      '+select',
      '+set',
      '+get',
      '+del',
      '+pttl',
    );
    await using one = await openWindow(`redis://weir:se%3Acret%2F1@127.0.0.1:${redis.port}/3`);
    const keys = newKeys(2);
    expect(await one.kinds(keys)).toEqual(['claimed', 'claimed']);
    await using needless = await openWindow(`redis://:needless@127.0.0.1:${redis.port}/3`);
    expect(await needless.kinds(keys)).toEqual(['busy', 'busy']);
    await using elsewhere = await openWindow(redis.url);
    expect(await elsewhere.kinds(keys)).toEqual(['claimed', 'claimed']);
    order(redis.url, 'ACL', 'SETUSER', 'weir', '-set');
    expect(await one.kinds(newKeys(1))).toEqual(['skipped']);
    expect(one.window.health()).toMatchObject({ state: 'unhealthy', skipping: 'error' });
    expect(one.window.health().lastError).toContain("can't run this command");
  });

  test('an address that leads nowhere', async () => {
    await using one = await openWindow(`redis://127.0.0.1:${await freePort()}`);
    expect(await atOnce(one.kinds(newKeys(1)))).toEqual(['skipped']);
    await using unknown = await openWindow('redis://no-such-host.invalid');
    expect(unknown.window.health()).toMatchObject({ state: 'unhealthy', skipping: 'disconnected' });
    expect(() => openWindow('redis://:secret@host/name')).toThrow('the Redis URL has a path');
  });

  test('a server in cluster mode is recognised, and what to do is said', async () => {
    await using redis = await startRedis({ config: { 'cluster-enabled': 'yes' } });
    await using one = await openWindow(redis.url);
    expect(await one.kinds(newKeys(1))).toEqual(['skipped']);
    expect(one.window.health()).toMatchObject({ state: 'unhealthy', skipping: 'cluster' });
    expect(one.window.health().lastError).toContain('Use one primary');
  });

  test.skipIf(lacks({ start: ['openssl'] }))("TLS with an authority of one's own, and not without it", async () => {
    const folder = mkdtempSync(join(tmpdir(), 'weir-redis-tls-'));
    try {
      const { caFile, server } = createCertificates(folder);
      const tlsPort = await freePort();
      await using _redis = await startRedis({
        config: {
          'tls-port': String(tlsPort),
          'tls-ca-cert-file': caFile,
          'tls-cert-file': server.certFile,
          'tls-key-file': server.keyFile,
          'tls-auth-clients': 'no',
        },
      });
      const url = `rediss://localhost:${tlsPort}`;
      await using one = await openWindow(url, { tls: { ca: readFileSync(caFile, 'utf8') } });
      expect(await one.kinds(newKeys(1))).toEqual(['claimed']);
      await using stranger = await openWindow(url);
      expect(await stranger.kinds(newKeys(1))).toEqual(['skipped']);
      expect(stranger.window.health().skipping).toBe('disconnected');
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});

function heapBytes(): number {
  Bun.gc(true);
  return process.memoryUsage().heapUsed;
}
