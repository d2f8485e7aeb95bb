/**
 * A repository, open to be read: for lists, restores, pins, the source of a copy.
 *
 * These need the ledger and the locators that maps carry; the table only where a locator fails. So a reader follows the log
 * without it: no change object is read, no row of a checkpoint, and what other volumes of a group have shipped costs their
 * records and nothing else. Where a locator fails the repository is opened whole, once.
 */
import { isHoldfastError } from '../../domain/errors.ts';
import type { SealingKey } from '../../ground/sealing/envelope.ts';
import type { ObjectStore } from '../../ground/stores/object-store.ts';
import type { ReadNode } from '../map/walk.ts';
import { checkpoints, readCheckpointLedger } from './checkpoint.ts';
import type { Environment } from './environment.ts';
import { createFollower, type Folding, type Follower } from './follower.ts';
import { applyEntry, cloneLedger, emptyLedger, judge, type Ledger } from './ledger.ts';
import type { Location } from './location.ts';
import { createNodeCaches } from './node-cache.ts';
import type { Repository, RepositoryParts } from './repository.ts';
import { cachedLedger } from './table-folding.ts';
import { createValueReader, type ValueReader } from './value-reader.ts';

/** What reading a repository takes. It appends, too, what the ledger alone decides: pins and visibility. */
export interface RepositoryReader extends Follower {
  readonly store: ObjectStore;
  readonly key: SealingKey;
  readonly environment: Environment;
  readonly values: ValueReader;
  readonly readNode: ReadNode;
  /** Where a value lies, as of the last look; null when it is not known (any more). */
  locate(fingerprint: Buffer): Location | null;
  /** Looks again where values lie: after a 404, and before what `locate` says is believed. */
  relook(): Promise<unknown>;
}

/** `openWhole` gives the repository with its table, synced; it is asked when a locator fails. */
export function openReader(parts: RepositoryParts, openWhole: () => Promise<Repository>): RepositoryReader {
  const { store, key, environment } = parts;
  const follower = createFollower(parts, createLedgerFolding(parts));
  let whole: Repository | null = null;
  const relook = async (): Promise<void> => {
    whole = await openWhole();
    await whole.relook();
  };
  const locate = (fingerprint: Buffer): Location | null => whole?.locate(fingerprint) ?? null;
  const values = createValueReader({ store, key, locate, refresh: relook, nodes: parts.nodes ?? createNodeCaches()() });
  return { store, key, environment, ...follower, values, readNode: values.readNode, locate, relook };
}

/** The fold of the ledger alone: from the cache's, else from a checkpoint's, else from the beginning. */
function createLedgerFolding({ store, key, table, environment }: RepositoryParts): Folding {
  const skipTo = async (least: number): Promise<Ledger> => {
    for await (const checkpoint of checkpoints(store, key))
      try {
        if (checkpoint.n >= least) return await readCheckpointLedger(store, key, checkpoint);
      } catch (error) {
        if (!isHoldfastError(error, 'DAMAGED', 'OBJECT_MISSING')) throw error;
        environment.alarm('a checkpoint cannot be read and is passed over', { n: checkpoint.n, code: error.code });
      }
    return emptyLedger();
  };
  return {
    begin: async (log) => (await cachedLedger(table, log, environment)) ?? (await skipTo(0)),
    stands: () => true,
    fold(from, records) {
      const ledger = cloneLedger(from);
      for (const { entries, seq, digest } of records) {
        for (const entry of entries) if (judge(ledger, entry) === null) applyEntry(ledger, entry, seq);
        ledger.n = seq;
        ledger.head = digest;
      }
      return Promise.resolve(ledger);
    },
    skipTo,
    mends: () => false,
  };
}
