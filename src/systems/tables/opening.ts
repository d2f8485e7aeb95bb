/**
 * The archive of a table, opened by the table's name in the catalog: in the table's store under `tables/<name>/`, with the store's
 * passphrase, as a repository is.
 *
 * Its id is noted in the catalog when it is first made, and another one in its place is refused: a store that was re-created must not look
 * like a table that was never archived. Who reads opens what is there; only who archives makes one.
 */
import { randomBytes } from 'node:crypto';
import { HoldfastError } from '../../domain/errors.ts';
import { findStore } from '../../engine/catalog/catalog.ts';
import type { Home } from '../../engine/catalog/home.ts';
import { archiveKey, findTable, tablePrefix, type TableDefinition } from '../../engine/catalog/tables.ts';
import { ensureRepository, openRepositoryFormat, readHeader, type UnlockedRepository } from '../../engine/repository/format.ts';
import { claimRole, ensureForm, openTableArchive, type TableArchive } from '../../engine/tables/archive/archive.ts';
import { resolvePassphrase } from '../../ground/sealing/passphrase.ts';
import type { ObjectStore } from '../../ground/stores/object-store.ts';
import { within } from '../../ground/stores/within.ts';

export interface OpenedTable {
  readonly table: TableDefinition;
  /** Synced. */
  readonly archive: TableArchive;
}

export interface ClaimedTable extends OpenedTable {
  readonly epoch: number;
}

/** For reading past states. TABLE_NOT_FOUND; TABLE_NOT_ARCHIVED when nothing was begun; REPOSITORY_OTHER; as the store. */
export const openTable = (home: Home, name: string): Promise<OpenedTable> => open(home, name, false);

/** Opens a table, which it makes where there is none yet, and takes a role of its archive over: what held it before meets CLAIM_LOST. */
export async function claimTable(home: Home, name: string, role: 'archive' | 'snapshots'): Promise<ClaimedTable> {
  const { table, archive } = await open(home, name, role === 'archive');
  if (role === 'archive') await ensureForm(archive, table.form);
  return { table, archive, epoch: await claimRole(archive, role) };
}

async function open(home: Home, name: string, create: boolean): Promise<OpenedTable> {
  const state = await home.catalog.sync();
  const table = findTable(state, name);
  const inside = within(await home.store(table.store), tablePrefix(name));
  const passphrase = await resolvePassphrase(findStore(state, table.store).passphrase, home.variables);
  const { key } = await unlock(home, table, inside, passphrase, create);
  const archive = openTableArchive({ store: inside, key, environment: home.environment });
  await archive.sync();
  return { table, archive };
}

async function unlock(
  home: Home,
  table: TableDefinition,
  inside: ObjectStore,
  passphrase: string,
  create: boolean,
): Promise<UnlockedRepository> {
  const { catalog, environment } = home;
  const expected = catalog.known().archives.get(archiveKey(table));
  if (expected !== undefined) return openRepositoryFormat(inside, passphrase, expected);
  if (!create && (await readHeader(inside)) === null)
    throw new HoldfastError('TABLE_NOT_ARCHIVED', `nothing of table ${table.name} was archived yet`, {
      table: table.name,
      store: table.store,
    });
  const opened = create
    ? await ensureRepository(inside, table.name, passphrase, environment.nowMs(), { random: randomBytes })
    : await openRepositoryFormat(inside, passphrase);
  await catalog.append(() => ({ kind: 'ARCHIVE_SEEN', store: table.store, table: table.name, id: opened.header.id }));
  return opened;
}
