/** The SQLite file behind the state: how it is opened, what guarantees its settings carry, and its versions. */
import { Database, SQLiteError } from 'bun:sqlite';
import { closeSync, fsyncSync, openSync } from 'node:fs';
import { dirname } from 'node:path';

/** The state database cannot be used as it is; an operator must act. */
export class StateError extends Error {
  readonly code: 'state_locked' | 'state_newer' | 'state_foreign' | 'state_damaged' | 'state_unusable';
  constructor(code: StateError['code'], message: string, options: { cause?: unknown } = {}) {
    super(message, { cause: options.cause });
    this.name = 'StateError';
    this.code = code;
  }
}

/** "WEIR" in ASCII, in the header of the file. */
const APPLICATION_ID = 0x57454952;

/** The WAL file is cut back to this many bytes after a checkpoint. */
const WAL_BYTES_KEPT = 4 * 1024 * 1024;

/** Script n brings version n to version n+1. A script that was released is never changed. */
const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE cursors (
    journal TEXT NOT NULL,
    sink TEXT NOT NULL,
    seq INTEGER NOT NULL CHECK (seq >= 0),
    PRIMARY KEY (journal, sink)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE blocks (
    journal TEXT NOT NULL,
    sink TEXT NOT NULL,
    first_seq INTEGER NOT NULL,
    last_seq INTEGER NOT NULL CHECK (last_seq >= first_seq),
    byte_length INTEGER NOT NULL,
    token TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    ambiguous INTEGER NOT NULL,
    cut_at_ms INTEGER NOT NULL,
    PRIMARY KEY (journal, sink)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE sinks (
    sink TEXT NOT NULL PRIMARY KEY,
    rows INTEGER NOT NULL,
    blocks INTEGER NOT NULL,
    retries INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE counters (
    span_minutes INTEGER NOT NULL,
    start_minute INTEGER NOT NULL,
    journal TEXT NOT NULL,
    store_id TEXT NOT NULL,
    event_type TEXT NOT NULL,
    count INTEGER NOT NULL CHECK (count > 0),
    PRIMARY KEY (span_minutes, start_minute, journal, store_id, event_type)
  ) STRICT, WITHOUT ROWID;
  `,
  // frame_seq: the last end of a frame at or before the position, which is where a journal can be read from.
  // Ranges of one sink may overlap: one that was dropped and comes back may stand before a range that it had parked.
  `
  ALTER TABLE cursors ADD COLUMN frame_seq INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE cursors ADD COLUMN doubt_seq INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE cursors ADD COLUMN since_ms INTEGER NOT NULL DEFAULT 0;
  UPDATE cursors SET frame_seq = seq;

  ALTER TABLE blocks ADD COLUMN frame_seq INTEGER NOT NULL DEFAULT 0;
  UPDATE blocks SET frame_seq = last_seq;

  ALTER TABLE sinks ADD COLUMN since_ms INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE sinks ADD COLUMN dead_lettered INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE sinks ADD COLUMN replayed INTEGER NOT NULL DEFAULT 0;
  INSERT OR IGNORE INTO sinks (sink, rows, blocks, retries) SELECT DISTINCT sink, 0, 0, 0 FROM cursors;

  CREATE TABLE dead_letters (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL CHECK (kind IN ('row', 'range')),
    sink TEXT NOT NULL,
    journal TEXT NOT NULL,
    first_seq INTEGER NOT NULL,
    last_seq INTEGER NOT NULL CHECK (last_seq >= first_seq),
    rows INTEGER NOT NULL CHECK (rows >= 0),
    minute INTEGER NOT NULL,
    event_id TEXT NOT NULL,
    event_type TEXT NOT NULL,
    store_id TEXT NOT NULL,
    code TEXT NOT NULL,
    message TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    first_at_ms INTEGER NOT NULL,
    last_at_ms INTEGER NOT NULL,
    charged_bytes INTEGER NOT NULL
  ) STRICT;
  CREATE UNIQUE INDEX dead_letters_by_row ON dead_letters (sink, journal, first_seq) WHERE kind = 'row';
  CREATE INDEX dead_letters_by_minute ON dead_letters (minute);

  CREATE TABLE dead_letter_contents (
    id INTEGER PRIMARY KEY,
    bytes BLOB NOT NULL
  ) STRICT;

  CREATE TABLE dead_letter_totals (
    sink TEXT NOT NULL PRIMARY KEY,
    letters INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    bytes INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE TRIGGER dead_letter_added AFTER INSERT ON dead_letters BEGIN
    INSERT INTO dead_letter_totals (sink, letters, rows, bytes) VALUES (new.sink, 1, new.rows, new.charged_bytes)
    ON CONFLICT (sink) DO UPDATE SET
      letters = letters + 1, rows = rows + new.rows, bytes = bytes + new.charged_bytes;
  END;
  CREATE TRIGGER dead_letter_changed AFTER UPDATE OF rows, charged_bytes ON dead_letters BEGIN
    UPDATE dead_letter_totals SET rows = rows + new.rows - old.rows, bytes = bytes + new.charged_bytes - old.charged_bytes
    WHERE sink = new.sink;
  END;
  CREATE TRIGGER dead_letter_removed AFTER DELETE ON dead_letters BEGIN
    DELETE FROM dead_letter_contents WHERE id = old.id;
    UPDATE dead_letter_totals SET letters = letters - 1, rows = rows - old.rows, bytes = bytes - old.charged_bytes
    WHERE sink = old.sink;
  END;

  CREATE TABLE deleted_rows (
    sink TEXT NOT NULL,
    minute INTEGER NOT NULL,
    event_type TEXT NOT NULL,
    rows INTEGER NOT NULL,
    PRIMARY KEY (sink, minute, event_type)
  ) STRICT, WITHOUT ROWID;
  `,
];

/**
 * Opens (or makes) the state database and brings it to the present version. The file stays locked until it is closed
 * or the process ends. Throws `StateError`.
 */
export function openStateDatabase(file: string): Database {
  let db: Database | undefined;
  try {
    db = new Database(file, { create: true, readwrite: true, strict: true });
    configure(db);
    migrate(db, file);
    syncFolder(dirname(file));
    return db;
  } catch (error) {
    db?.close();
    throw explain(error, file);
  }
}

/**
 * `synchronous=FULL` syncs the WAL at every commit (NORMAL would do so at checkpoints only, and a power cut could
 * take a cursor back behind what was sent); `locking_mode=EXCLUSIVE` lets no second process in and needs no shared
 * memory file; `fullfsync` matters on macOS, where fsync alone does not reach the platter.
 */
function configure(db: Database): void {
  db.run('PRAGMA busy_timeout = 0');
  db.run('PRAGMA locking_mode = EXCLUSIVE');
  db.run('PRAGMA journal_mode = WAL');
  db.run('PRAGMA synchronous = FULL');
  db.run('PRAGMA fullfsync = 1');
  db.run('PRAGMA checkpoint_fullfsync = 1');
  db.run('PRAGMA wal_autocheckpoint = 1000');
  db.run(`PRAGMA journal_size_limit = ${WAL_BYTES_KEPT}`);
  db.run('PRAGMA cache_size = -8192');
  db.run('PRAGMA temp_store = MEMORY');
  db.run('PRAGMA trusted_schema = OFF');
}

function migrate(db: Database, file: string): void {
  db.transaction(() => {
    const version = readPragma(db, 'user_version');
    const application = readPragma(db, 'application_id');
    if (application !== APPLICATION_ID && (application !== 0 || version !== 0 || hasTables(db))) {
      throw new StateError('state_foreign', `${file} is a database of another program; move it away.`);
    }
    if (version > MIGRATIONS.length) {
      throw new StateError(
        'state_newer',
        `${file} has version ${version}, and this Weir knows versions up to ${MIGRATIONS.length}: start the newer Weir that wrote it.`,
      );
    }
    for (const script of MIGRATIONS.slice(version)) db.run(script);
    db.run(`PRAGMA application_id = ${APPLICATION_ID}`);
    db.run(`PRAGMA user_version = ${MIGRATIONS.length}`);
  }).immediate();
}

function hasTables(db: Database): boolean {
  return db.query('SELECT 1 FROM sqlite_schema LIMIT 1').get() !== null;
}

/** The value of a numeric pragma. */
export function readPragma(db: Database, name: string): number {
  const row = db.query(`PRAGMA ${name}`).get() as Record<string, number>;
  return Object.values(row)[0] as number;
}

/** The file's name must survive a power cut, too. */
function syncFolder(folder: string): void {
  const fd = openSync(folder, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

function explain(error: unknown, file: string): StateError {
  if (error instanceof StateError) return error;
  const code = error instanceof SQLiteError ? (error.code ?? '') : '';
  if (code.startsWith('SQLITE_BUSY') || code.startsWith('SQLITE_LOCKED')) {
    return new StateError('state_locked', `${file} is in use by another process; end that one first.`, {
      cause: error,
    });
  }
  if (code.startsWith('SQLITE_CORRUPT') || code.startsWith('SQLITE_NOTADB')) {
    return new StateError('state_damaged', `${file} is damaged; restore it from a backup.`, { cause: error });
  }
  const reason = error instanceof Error ? error.message : String(error);
  return new StateError('state_unusable', `${file} cannot be opened: ${reason}.`, { cause: error });
}

/** The disk was too full for a transaction, which SQLite has rolled back: it may be tried again. */
export function isDiskFull(error: unknown): boolean {
  return error instanceof SQLiteError && error.code === 'SQLITE_FULL';
}
