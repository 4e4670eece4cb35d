/**
 * The second half of an event's path, in order and without logic: from the journal to the store.
 *
 *   the journal's files, and a nudge from accept ─▶ reader ─▶ block, cut once ─▶ sink ─▶ cursor
 */
import { createQueryService, createStoreSink, type Store } from '@libs/database';
import { createDelivery, openState } from '@libs/delivery';
import { createDisk } from '@libs/journal';
import type { Logger } from '@libs/monitoring';
import type { Config } from './config.ts';
import { createDeliverHub } from './deliver-hub.ts';
import { deliverPaths } from './paths.ts';
import * as settings from './settings.ts';

export function buildDeliver(config: Config, store: Store, logger: Logger, onFatal: (error: unknown) => void) {
  const sink = createStoreSink(store, { logger });
  const state = openState(settings.stateFile(config));
  const delivery = createDelivery({
    state,
    sinks: [sink],
    limits: settings.deliveryLimits(config),
    logger,
    onProgress: (journal, name, seq) => hub.progress(journal, name, seq),
    onRelease: (journal, seq) => hub.release(journal, seq),
    onFatal,
  });
  const query = createQueryService(store, settings.queryLimits(config), { logger });
  const hub = createDeliverHub({
    ...deliverPaths(config),
    disk: createDisk(),
    dataFolder: config.dataFolder,
    delivery,
    query,
    logger,
    onFatal,
  });
  return { sink, state, delivery, query, hub };
}
