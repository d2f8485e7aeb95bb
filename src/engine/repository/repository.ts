/**
 * A repository, open: the thin shell around the pure fold.
 *
 * It follows the log (`sync`), appends to it (`append`), finds where a value lies (`locate`) and reads nodes of maps. All
 * decisions are the ledger's; all that is here may be stale: a stale location gets a 404 and looks again.
 */
import { createChangeStore, type ChangeStore } from './change-io.ts';
import { createFollower, type FollowerParts } from './follower.ts';
import type { Location } from './location.ts';
import { createNodeCaches, type NodeCache } from './node-cache.ts';
import type { RepositoryReader } from './reader.ts';
import { createTableFolding } from './table-folding.ts';
import type { Table } from './table.ts';
import { createValueReader } from './value-reader.ts';

export interface RepositoryParts extends FollowerParts {
  readonly table: Table;
  /** Where nodes that were read are remembered; by default in one of its own. */
  readonly nodes?: NodeCache;
}

/** A repository that can be written and collected: its table stands where its ledger does. */
export interface Repository extends RepositoryReader {
  readonly table: Table;
  readonly changes: ChangeStore;
  /** Whether the table is that of the first n records now; a cache that is shared moves under this process. */
  standsAt(n: number): boolean;
  /** Packs that lost their last live value in records folded here since the last call. */
  takeEmptied(): readonly Buffer[];
}

export function openRepository(parts: RepositoryParts): Repository {
  const { store, key, environment } = parts;
  const changes = createChangeStore(store, key, environment.random);
  const folding = createTableFolding(parts, parts.table, changes);
  const { table, takeEmptied } = folding;
  const follower = createFollower(parts, folding);
  const locate = (fingerprint: Buffer): Location | null => table.get(fingerprint)?.location ?? null;
  const values = createValueReader({ store, key, locate, refresh: follower.sync, nodes: parts.nodes ?? createNodeCaches()() });
  return {
    ...{ store, key, table, changes, environment, ...follower, values, locate, takeEmptied },
    readNode: values.readNode,
    relook: follower.sync,
    standsAt: (n) => (table.stamp() ?? n) === n,
  };
}
