import { afterEach, expect, test } from 'bun:test';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import type { DeliverState } from '@libs/delivery';
import type { Journal } from '@libs/journal';
import { createLinkServer } from '@libs/runtime';
import { createDeliverLink } from './deliver-link.ts';
import type { ToAccept, ToDeliver } from './workers.ts';

const folder = mkdtempSync(`${tmpdir()}/weir-link-`);
const ends: (() => void)[] = [];
afterEach(() => {
  for (const end of ends.splice(0)) end();
  rmSync(folder, { recursive: true });
});

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise(setImmediate);
}

test('the last state outlives the connection that it came by, and is no news any more', async () => {
  const linkPath = `${folder}/link`;
  const server = createLinkServer<ToDeliver, ToAccept>({ path: linkPath, onMessage: () => undefined });
  const journal: Pick<Journal, 'id' | 'durableSeq' | 'leftovers'> = {
    id: 'j',
    durableSeq: () => 0,
    leftovers: () => [],
  };
  const link = createDeliverLink({
    linkPath,
    queryPath: `${folder}/query`,
    journal: journal as Journal,
    onProgress: () => undefined,
  });
  ends.push(server.close, link.close);
  await until(() => server.connections.size === 1);
  expect(link.lastState()).toBeUndefined();
  const state: DeliverState = { t: 'state', sinks: [], rssBytes: 1, cpuSeconds: 2 };
  server.broadcast(state);
  await until(() => link.lastState() !== undefined);
  expect(link.state()).toMatchObject({ state });
  server.close();
  await until(() => link.state() === undefined);
  expect(link.lastState()).toEqual(state);
});
