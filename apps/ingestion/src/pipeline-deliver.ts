/**
 * The second half of an event's path, in order and without logic: from the journal to where events go.
 *
 *   the journal's files, and a nudge from accept ─▶ reader ─▶ block, cut once ─▶ sinks ─▶ one cursor each
 *                                                                                  └─▶ dead letters
 */
import { createQueryService, createStoreAudit, type Store } from '@libs/database';
import { createDelivery, openState } from '@libs/delivery';
import { createDisk } from '@libs/journal';
import type { Logger } from '@libs/monitoring';
import type { Config } from './config.ts';
import { createCountStored } from './count-stored.ts';
import { createDeliverHub } from './deliver-hub.ts';
import { createOperatorBackend } from './deliver-operator-backend.ts';
import { createOperators } from './deliver-operators.ts';
import { deliverPaths } from './paths.ts';
import { createReadRows } from './read-rows.ts';
import * as settings from './settings.ts';
import { buildKafkaAudit, buildSinks } from './sinks.ts';
import { rememberStore } from './store-switch.ts';

export async function buildDeliver(config: Config, store: Store, logger: Logger, onFatal: (error: unknown) => void) {
  const sinks = await buildSinks(config, store, logger);
  const state = openState(settings.stateFile(config));
  const audit = createStoreAudit(store);
  const delivery = createDelivery({
    state,
    sinks,
    limits: settings.deliveryLimits(config),
    logger,
    startedAtMs: config.startedAtMs,
    readRows: createReadRows(audit),
    onProgress: (journal, name, seq) => hub.progress(journal, name, seq),
    onRelease: (journal, seq) => hub.release(journal, seq),
    onFatal,
  });
  const query = createQueryService(store, settings.queryLimits(config), { logger });
  const { since } = rememberStore(settings.storeFile(config), settings.storeName(config), state);
  const kafka = await buildKafkaAudit(config, logger);
  const countStored = createCountStored({ store: audit, kafka, storedElsewhere: since });
  const backend = createOperatorBackend({ delivery, audit, countStored });
  const hub = createDeliverHub({
    ...deliverPaths(config),
    disk: createDisk(),
    dataFolder: config.dataFolder,
    delivery,
    query,
    operators: createOperators(backend, { logger }),
    logger,
    onFatal,
  });
  return { sinks, state, delivery, query, hub };
}
