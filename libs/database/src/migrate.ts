/** Brings the store's tables to the version that this code knows. */
import { Permanent } from '@libs/pipeline';
import { createMigrationsTable, MIGRATIONS, type Migration } from './schema.ts';
import type { Store } from './store.ts';

export interface MigrateReport {
  /** The schema's version now. */
  readonly version: number;
  /** Versions that this run applied. */
  readonly applied: readonly number[];
}

/**
 * Applies what is missing, then the retention of `raw_events`. May be killed between any two statements and run by
 * several processes at once: each statement is idempotent, and a version is recorded only after all of its own.
 * Throws `Permanent` (`schema_too_new`) when the tables come from a later version of Weir, and `Retryable` when the
 * store does not answer.
 */
export async function migrate(store: Store, migrations: readonly Migration[] = MIGRATIONS): Promise<MigrateReport> {
  const { database } = store;
  if ((await store.select(`SELECT 1 FROM system.databases WHERE name = '${database}'`)).length === 0) {
    await store.command(`CREATE DATABASE IF NOT EXISTS ${database}`);
  }
  await store.command(createMigrationsTable(database));
  const [row] = await store.select(`SELECT max(version) FROM ${database}.schema_migrations`);
  const present = Number(row?.[0] ?? 0);
  const known = migrations.at(-1)?.version ?? 0;
  if (present > known) {
    throw new Permanent(
      'schema_too_new',
      `The database "${database}" has schema version ${present}, and this Weir knows versions up to ${known}: start the Weir that made it, or a later one.`,
    );
  }
  const applied: number[] = [];
  for (const migration of migrations) {
    if (migration.version <= present) continue;
    for (const statement of migration.statements(database)) await store.command(statement);
    await store.command(
      `INSERT INTO ${database}.schema_migrations (version, name) SETTINGS async_insert = 0 VALUES (${migration.version}, '${migration.name}')`,
    );
    applied.push(migration.version);
  }
  await applyRetention(store);
  return { version: known, applied };
}

/** Sets, changes or removes the TTL, and touches the table only when it differs: a change starts a mutation. */
async function applyRetention(store: Store): Promise<void> {
  const { database, retentionDays } = store;
  const [row] = await store.select(
    `SELECT create_table_query FROM system.tables WHERE database = '${database}' AND name = 'raw_events'`,
  );
  const present = Number(/TTL [^\n]*toIntervalDay\((\d+)\)/.exec(row?.[0] ?? '')?.[1] ?? 0);
  if (present === (retentionDays ?? 0)) return;
  await store.command(
    retentionDays === undefined
      ? `ALTER TABLE ${database}.raw_events REMOVE TTL`
      : `ALTER TABLE ${database}.raw_events MODIFY TTL toDateTime(receivedAt) + toIntervalDay(${retentionDays})`,
  );
}
