/** Brings the store's tables to the version that this code knows. */
import { Permanent } from '@libs/pipeline';
import {
  createDatabase,
  createMigrationsTable,
  insertTable,
  MIGRATIONS,
  type Migration,
  onCluster,
  type SchemaTarget,
} from './schema.ts';
import type { Store } from './store.ts';

export interface MigrateReport {
  /** The schema's version now. */
  readonly version: number;
  /** Versions that this run applied. */
  readonly applied: readonly number[];
}

/**
 * Applies what is missing, then the retention of `raw_events`. May be killed between any two statements and run by
 * several processes at once: each statement is idempotent, and a version is recorded only after all of its own. Where
 * everything is up to date nothing is changed, so that a start does not need every host of a cluster.
 * Throws `Permanent` (`schema_too_new`) when the tables come from a later version of Weir, and `Retryable` when the
 * store does not answer or does not let us.
 */
export async function migrate(store: Store, migrations: readonly Migration[] = MIGRATIONS): Promise<MigrateReport> {
  const { database } = store;
  const present = await presentVersion(store);
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
    for (const statement of migration.statements(store)) await store.command(statement);
    await store.command(recordVersion(store, migration));
    applied.push(migration.version);
  }
  await applyRetention(store);
  return { version: known, applied };
}

async function presentVersion(store: Store): Promise<number> {
  const { database } = store;
  if ((await store.select(`SELECT 1 FROM system.databases WHERE name = '${database}'`)).length === 0) {
    await store.command(createDatabase(store));
  }
  const table = await store.select(
    `SELECT 1 FROM system.tables WHERE database = '${database}' AND name = 'schema_migrations'`,
  );
  if (table.length === 0) await store.command(createMigrationsTable(store));
  const [row] = await store.select(`SELECT max(version) FROM ${database}.schema_migrations`);
  return Number(row?.[0] ?? 0);
}

/** Who comes second finds the row there; should two arrive at once, a second row of the same version says the same. */
function recordVersion({ database }: SchemaTarget, { version, name }: Migration): string {
  return `INSERT INTO ${database}.schema_migrations (version, name) SETTINGS async_insert = 0
SELECT ${version}, '${name}' WHERE NOT (${version} IN (SELECT version FROM ${database}.schema_migrations))`;
}

/** Sets, changes or removes the TTL, and touches the table only when it differs: a change starts a mutation. */
async function applyRetention(store: Store): Promise<void> {
  const { database, retentionDays } = store;
  const table = insertTable(store);
  const [row] = await store.select(
    `SELECT create_table_query FROM system.tables WHERE database = '${database}' AND name = '${table}'`,
  );
  const present = Number(/TTL [^\n]*toIntervalDay\((\d+)\)/.exec(row?.[0] ?? '')?.[1] ?? 0);
  if (present === (retentionDays ?? 0)) return;
  const alter = `ALTER TABLE ${database}.${table}${onCluster(store)}`;
  await store.command(
    retentionDays === undefined
      ? `${alter} REMOVE TTL`
      : `${alter} MODIFY TTL toDateTime(receivedAt) + toIntervalDay(${retentionDays})`,
  );
}
