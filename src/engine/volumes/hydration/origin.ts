/** The snapshot that a volume is being restored from while it is served (docs/hydration.md). */
import type { Threads } from '../../../ground/threads/threads.ts';
import type { Snapshot } from '../../repository/ledger.ts';
import type { RepositoryReader } from '../../repository/reader.ts';
import type { SnapshotView } from '../snapshot-view.ts';

export interface Origin {
  /** Its id. What changed since then is what clients wrote. */
  readonly snapshot: string;
  /** Opened when something is needed of it, and tried again when that fails: at the start its store may be away. */
  open(): Promise<OpenedOrigin>;
}

export interface OpenedOrigin extends AsyncDisposable {
  readonly view: SnapshotView;
  readonly reader: RepositoryReader;
  readonly snapshot: Snapshot;
  /** The store's name, for errors. */
  readonly store: string;
  readonly threads: Threads;
}
