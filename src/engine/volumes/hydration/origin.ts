/** What a volume is being restored from while it is served: a snapshot, or a point of a journal (docs/hydration.md). */
import { HoldfastError } from '../../../domain/errors.ts';
import type { SnapshotView } from '../snapshot-view.ts';
import type { Bulk } from './bulk.ts';

export interface Origin {
  /** What it is known by: a snapshot's id, a journal and a point of it. What changed since then is what clients wrote. */
  readonly name: string;
  /** Opened when something is needed of it, and tried again when that fails: at the start its store may be away. */
  open(): Promise<OpenedOrigin>;
}

/** What it has, as often as it is asked for: the volume keeps what it was given. */
export interface OriginContent {
  /** An extent that somebody waits for; and what is known to be zeros. */
  readonly view: Pick<SnapshotView, 'extent' | 'allocation'>;
  /** All of it, in the order that costs least. `path`: of the volume's file. */
  openBulk(path: string): Promise<Bulk>;
}

/** What was asked for is not to be had in this way any more; opened anew, the origin has another. */
export class OriginOutdated extends HoldfastError {
  constructor(why: string) {
    super('STORE_UNREACHABLE', why);
  }
}

export interface OpenedOrigin extends OriginContent, AsyncDisposable {}
