/**
 * Where the store was when: with another `CLICKHOUSE_URL` the cursor goes on and old rows stay where they are, so that only
 * what was delivered since then can be counted in the table of today.
 */
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { STORE_SINK, type State } from '@libs/delivery';

export interface StoreSwitch {
  /** Names the store: two stores never have the same rows under one name. */
  readonly store: string;
  /** By journal: what was stored elsewhere before. */
  readonly since: Readonly<Record<string, number>>;
}

/** Reads what is remembered in `file`; when the store is another one now, remembers how far the former one had come. */
export function rememberStore(file: string, store: string, state: Pick<State, 'cursors'>): StoreSwitch {
  const known = read(file);
  if (known?.store === store) return known;
  const cursors = state.cursors().filter(({ sink }) => sink === STORE_SINK);
  // Without a file there was no other store to switch from.
  const since = known === undefined ? {} : Object.fromEntries(cursors.map(({ journal, seq }) => [journal, seq]));
  const remembered = { store, since };
  writeFileSync(`${file}.part`, JSON.stringify(remembered), { mode: 0o600 });
  renameSync(`${file}.part`, file);
  return remembered;
}

function read(file: string): StoreSwitch | undefined {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as StoreSwitch;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
