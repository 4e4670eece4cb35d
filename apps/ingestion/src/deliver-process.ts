/** The deliver process: brings events from the journals to where they go, and answers queries and operators. May be killed at any time. */
import { join } from 'node:path';
import { migrate, openStore } from '@libs/database';
import type { Delivery } from '@libs/delivery';
import type { Logger } from '@libs/monitoring';
import { type LifecycleStep, Permanent } from '@libs/pipeline';
import { acquireLock, Refusal } from '@libs/runtime';
import { LOCK_WAIT_MS, runChild } from './child-process.ts';
import type { Config } from './config.ts';
import { refuseLostCursors } from './lost-cursors.ts';
import { deliverFolder } from './paths.ts';
import { buildDeliver } from './pipeline-deliver.ts';
import { storeOptions } from './settings.ts';

export function runDeliver(settingsFile: string): Promise<void> {
  return runChild(settingsFile, {
    name: 'deliver',
    build,
    isRefusal: (error) => error instanceof Refusal || error instanceof Permanent,
  });
}

async function build(config: Config, logger: Logger): Promise<readonly LifecycleStep[]> {
  const file = join(deliverFolder(config), 'lock');
  const lock = await acquireLock(file, { waitMs: LOCK_WAIT_MS, label: 'The deliver folder' });
  const store = await openStore(storeOptions(config), { logger });
  // A server may come up later: then the sink makes the tables when it connects.
  if (store.kind === 'embedded') await migrate(store);
  const { sinks, state, delivery, query, hub } = await buildDeliver(config, store, logger, (error) => {
    logger.fatal({ err: error }, 'Delivery cannot go on: the process ends and is started again');
    process.exit(1);
  });
  await refuseLostCursors(store, state, config, logger);
  reportRemoved(delivery, logger);
  const stopTimeoutMs = config.SHUTDOWN_TIMEOUT_MS / 2;
  return [
    { name: 'lock', stop: () => lock.release() },
    { name: 'store', stop: () => store.close() },
    ...sinks.map(({ sink }) => ({ name: sink.name, stop: (signal: AbortSignal) => sink.close(signal) })),
    { name: 'state', stop: () => state.close() },
    { name: 'query', stop: () => query.close() },
    { name: 'hub', start: () => hub.start(), stop: () => hub.stop() },
    { name: 'delivery', stopTimeoutMs, stop: (signal) => delivery.stop(signal) },
  ];
}

/** A sink that is gone from the configuration keeps what it has not had in the journal: somebody must decide. */
function reportRemoved(delivery: Delivery, logger: Logger): void {
  for (const { sink, journals } of delivery.removedSinks()) {
    const pendingEvents = journals.reduce((sum, one) => sum + one.pendingEvents, 0);
    logger.warn(
      { sink, pendingEvents },
      `sink ${sink} is no longer configured and keeps its events in the journal: configure it again, or run "weir sink drop ${sink}"`,
    );
  }
}
