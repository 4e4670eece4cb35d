export { type MigrateReport, migrate } from './migrate.ts';
export { createQueryService, QUERY_LIMITS, type QueryLimits, type QueryService } from './query-service.ts';
export { openStore, type QueryTarget, type ReadOptions, type Store, type StoreLogger } from './store.ts';
export {
  createStoreAudit,
  type HeldJournal,
  POSITION_ROWS_MAX,
  type PositionedRow,
  type PositionPage,
  type PositionQuery,
  type SeqRange,
  type StoreAudit,
  type StoreAuditLimits,
  type TypeCount,
} from './store-audit.ts';
export type {
  EmbeddedStoreOptions,
  ServerStoreOptions,
  StoreOptions,
  StoreTlsOptions,
} from './store-options.ts';
export { createStoreSink, type StoreSinkDeps, type StoreSinkOptions } from './store-sink.ts';
