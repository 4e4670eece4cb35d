export { type MigrateReport, migrate } from './migrate.ts';
export { createQueryService, QUERY_LIMITS, type QueryLimits, type QueryService } from './query-service.ts';
export {
  type EmbeddedStoreOptions,
  openStore,
  type ServerStoreOptions,
  type Store,
  type StoreLogger,
  type StoreOptions,
} from './store.ts';
export { createStoreSink, type StoreSinkDeps, type StoreSinkOptions } from './store-sink.ts';
