/** A journal that is full and a disk that is full: refused loudly, nothing lost, and on by itself once there is room. */
import { afterEach, expect, test } from 'bun:test';
import { pendingEvents, type Scenario, startScenario } from './scenario.ts';
import { createSeeded } from './seeded.ts';
import { cleanUp, temporaryFolder } from './service.ts';
import { mountSmallDisk, onFolder, type SmallDisk, unmountAll } from './small-disk.ts';
import { connectSocket } from './socket-client.ts';
import { until } from './until.ts';

const SEED = Number(process.env['INTEGRITY_SEED'] ?? Date.now() % 1_000_000);
const TIMEOUT_MS = 180_000;
const MIB = 1 << 20;

afterEach(async () => {
  await cleanUp();
  unmountAll();
});

/** Every way in says the same. */
async function expectRefusals({ service, client, events, ready }: Scenario): Promise<void> {
  const full = {
    kind: 'retry',
    code: 'journal_full',
    message: expect.stringMatching(/^the journal is full: ./),
  } as const;
  expect(await client.single(events.large())).toEqual(full);
  expect(await client.batch([events.large(), events.large()], 'json')).toEqual([full, full]);
  expect(await client.batch([events.large()], 'lines')).toEqual([full]);
  const socket = await connectSocket(service.url);
  socket.send(events.large());
  const [error] = await socket.heard('event_error');
  expect(error).toMatchObject({ code: 'journal_full', retryAfterMs: expect.any(Number) });
  socket.close();
  const [status, body] = await ready();
  expect([status, body['error']]).toEqual([503, 'journal_full']);
  expect((await fetch(`${service.url}/health/live`)).status).toBe(200);
  expect((await fetch(`${service.url}/health`)).status).toBe(503);
}

test(
  'a journal that is full because deliver stands still refuses with 503, and goes on by itself when deliver does',
  async () => {
    const scenario = await startScenario(createSeeded(SEED), { settings: { JOURNAL_BYTES_MAX: String(4 * MIB) } });
    const { service, events } = scenario;
    for (let round = 0; round < 2; round++) {
      await service.signal('deliver', 'SIGSTOP');
      const known = events.good();
      await scenario.untilAnswered(known);
      await scenario.untilFull();
      await expectRefusals(scenario);
      // What is known already needs no room.
      expect(await scenario.client.single(known)).toMatchObject({ kind: 'duplicate', level: 'journal' });
      expect(await pendingEvents(service.url)).toBeGreaterThan(1_000);
      await service.signal('deliver', 'SIGCONT');
      await scenario.untilAnswered(events.good());
      await until(async () => (await scenario.ready())[0] === 200, 'it is ready again');
    }
    expect(await scenario.audit()).toEqual([]);
  },
  TIMEOUT_MS,
);

test(
  'a journal that was full when everything was killed is full after the restart, and drains',
  async () => {
    const scenario = await startScenario(createSeeded(SEED), { settings: { JOURNAL_BYTES_MAX: String(4 * MIB) } });
    const { service, events } = scenario;
    await service.signal('deliver', 'SIGSTOP');
    await scenario.untilFull();
    await service.killSupervisor();
    await service.start();
    await scenario.untilAnswered(events.good());
    expect(await scenario.audit()).toEqual([]);
  },
  TIMEOUT_MS,
);

/** Where nothing can be mounted, a folder of the disk that everybody uses: then only the reserve can be tested. */
function anyDisk(): SmallDisk {
  const disk = mountSmallDisk(256 * MIB);
  return 'refused' in disk ? onFolder(temporaryFolder()) : disk;
}

test(
  'with less than the reserve free everything is refused, and taken again once there is room',
  async () => {
    const disk = anyDisk();
    const reserve = disk.freeBytes() - 128 * MIB;
    const scenario = await startScenario(createSeeded(SEED), {
      dataFolder: `${disk.folder}/data`,
      settings: { DISK_RESERVE_BYTES: String(reserve) },
    });
    await scenario.untilAnswered(scenario.events.good());
    disk.fillUpTo(reserve - 16 * MIB);
    await until(async () => (await scenario.ready())[0] === 503, 'it is no longer ready');
    await expectRefusals(scenario);
    disk.makeRoom();
    await until(async () => (await scenario.ready())[0] === 200, 'it is ready again');
    await scenario.untilAnswered(scenario.events.good());
    expect(await scenario.audit()).toEqual([]);
  },
  TIMEOUT_MS,
);

/** On the last byte SQLite fails first; with a little more it is the engine. */
const LAST_BYTES = {
  'the state database': [0, 'database or disk is full'],
  'the engine': [3 * MIB, 'NOT_ENOUGH_SPACE'],
};

for (const [victim, [leftBytes, complaint]] of Object.entries(LAST_BYTES) as [string, [number, string]][])
  test(
    `on a disk too full for ${victim} no acknowledged event is lost, and all is stored once there is room`,
    async () => {
      const disk = mountSmallDisk(192 * MIB);
      if ('refused' in disk) {
        // What is left then is the test of the reserve above.
        process.stdout.write(`The disk was not filled to its last byte: ${disk.refused}.\n`);
        return;
      }
      const scenario = await startScenario(createSeeded(SEED), { dataFolder: `${disk.folder}/data` });
      await scenario.untilAnswered(scenario.events.good());
      disk.fillUpTo(leftBytes);
      await scenario.untilFull();
      await until(async () => (await scenario.ready())[0] === 503, 'it is no longer ready');
      const output = () => scenario.service.output(Number.MAX_SAFE_INTEGER);
      await until(() => output().includes(complaint), `deliver complains: ${complaint}`);
      // Who is started on a full disk must live with it, too.
      await scenario.service.signal('deliver', 'SIGKILL');
      await scenario.service.signal('accept', 'SIGKILL');
      await until(async () => (await scenario.client.single(scenario.events.good())) !== undefined, 'accept is back');
      disk.makeRoom();
      await scenario.untilAnswered(scenario.events.good());
      expect(await scenario.audit()).toEqual([]);
    },
    TIMEOUT_MS,
  );
