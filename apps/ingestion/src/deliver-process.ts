/** The deliver process: brings events from the journals to the store, and answers queries. May be killed at any time. */

import { join } from 'node:path';
import { migrate, openStore } from '@libs/database';
import { createLogger } from '@libs/monitoring';
import { createLifecycle, Permanent } from '@libs/pipeline';
import { acquireLock, attachToSupervisor, onShutdown, Refusal, refuse } from '@libs/runtime';
import { refuseLostCursors } from './lost-cursors.ts';
import { deliverFolder } from './paths.ts';
import { buildDeliver } from './pipeline-deliver.ts';
import { storeOptions } from './settings.ts';
import { readSettings } from './settings-file.ts';

const LOCK_WAIT_MS = 15_000;

export async function runDeliver(settingsFile: string): Promise<void> {
  const end = Promise.withResolvers<void>();
  const supervisor = await attachToSupervisor({ onGone: end.resolve });
  onShutdown({ signals: ['SIGTERM'], onFirst: () => end.resolve() });
  const config = readSettings(settingsFile);
  const logger = createLogger({ level: config.LOG_LEVEL, name: 'deliver' });
  const onFatal = (error: unknown): void => {
    logger.fatal({ err: error }, 'Delivery cannot go on: the process ends and is started again');
    process.exit(1);
  };

  try {
    const lock = await acquireLock(join(deliverFolder(config), 'lock'), {
      waitMs: LOCK_WAIT_MS,
      label: 'The deliver folder',
    });
    const store = await openStore(storeOptions(config), { logger });
    // A server may come up later: then the sink makes the tables when it connects.
    if (store.kind === 'embedded') await migrate(store);
    const parts = buildDeliver(config, store, logger, onFatal);
    await refuseLostCursors(store, parts.state, config);
    const { sink, state, delivery, query, hub } = parts;
    const stopTimeoutMs = config.SHUTDOWN_TIMEOUT_MS / 2;
    const lifecycle = createLifecycle([
      { name: 'lock', stop: () => lock.release() },
      { name: 'store', stop: () => store.close() },
      { name: 'sink', stop: (signal) => sink.close(signal) },
      { name: 'state', stop: () => state.close() },
      { name: 'query', stop: () => query.close() },
      { name: 'hub', start: () => hub.start(), stop: () => hub.stop() },
      { name: 'delivery', stopTimeoutMs, stop: (signal) => delivery.stop(signal) },
    ]);
    await lifecycle.start();
    supervisor.ready();
    await end.promise;
    const { failed } = await lifecycle.stop();
    if (failed.length > 0) logger.warn({ failed }, 'Not everything was stopped in time');
    process.exit(failed.length === 0 ? 0 : 1);
  } catch (error) {
    if (error instanceof Refusal || error instanceof Permanent) refuse(error.message);
    throw error;
  }
}
