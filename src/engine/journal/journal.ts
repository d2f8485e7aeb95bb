/**
 * A journal that is open: its log, its key, and the regions that can be reached from here (docs/journal.md).
 *
 * Whatever is done with a journal (owning, taking over, backfilling, folding, reading, collecting) is a function or an object over
 * this, so that one process, a simulation and a test have the same one. Who may do what follows from the log, never from this.
 */
import type { SealingKey } from '../../ground/sealing/envelope.ts';
import type { ObjectStore } from '../../ground/stores/object-store.ts';
import type { Environment } from '../repository/environment.ts';
import type { JournalLog } from './journal-log.ts';

export interface Region {
  readonly name: string;
  /** What fails at once: no two members of an epoch share one. */
  readonly domain: string;
  /** Below `journals/<name>/`. */
  readonly store: ObjectStore;
}

export interface Journal {
  readonly name: string;
  /** 16 bytes, of repository.json. */
  readonly id: Uint8Array;
  readonly key: SealingKey;
  readonly environment: Environment;
  readonly log: JournalLog;
  /** By name; those that this process knows how to reach. */
  readonly regions: ReadonlyMap<string, Region>;
}
