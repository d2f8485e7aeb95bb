/**
 * A repository with its cache: opened for reading, or whole, when it is first asked for, synced each time. One that is
 * damaged is opened all the same, for reading only.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { ObjectStore } from '../../ground/stores/object-store.ts';
import type { Environment } from './environment.ts';
import type { UnlockedRepository } from './format.ts';
import type { NodeCache } from './node-cache.ts';
import { openReader, type RepositoryReader } from './reader.ts';
import { openRepository, type Repository, type RepositoryParts } from './repository.ts';
import { isSalvageable, openSalvage } from './salvage.ts';
import { openSqliteTable } from './sqlite-table.ts';

export interface CachedRepository {
  /** For lists, restores, pins, the source of a copy: needs no table. */
  reader(): Promise<RepositoryReader>;
  /** With its table: for writers, collectors, audits. */
  whole(): Promise<Repository>;
}

export interface Caches {
  /** Folder for tables: a file each, named by the repository's id. */
  readonly dir: string;
  /** Nodes of all repositories of the process. */
  readonly nodes: () => NodeCache;
}

export function openCached(store: ObjectStore, unlocked: UnlockedRepository, caches: Caches, environment: Environment): CachedRepository {
  mkdirSync(caches.dir, { recursive: true, mode: 0o700 });
  const table = openSqliteTable(join(caches.dir, `${unlocked.header.id}.sqlite`));
  const parts = { store, key: unlocked.key, table, environment, nodes: caches.nodes() };
  const whole = synced<Repository>(parts, () => openRepository(parts));
  return { whole, reader: synced<RepositoryReader>(parts, () => openReader(parts, whole)) };
}

function synced<Kind extends RepositoryReader>(parts: RepositoryParts, open: () => Kind): () => Promise<Kind | Repository> {
  let held: Kind | Repository | null = null;
  return async () => {
    try {
      held ??= open();
      await held.sync();
    } catch (error) {
      if (!isSalvageable(error)) throw error;
      held = await openSalvage(parts, error);
    }
    return held;
  };
}
