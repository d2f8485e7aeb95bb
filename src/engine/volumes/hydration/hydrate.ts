/** Hydration in the background: all that is cold, then the end. */
import { HoldfastError } from '../../../domain/errors.ts';
import { syncEarly } from '../../transfer/early-sync.ts';
import type { OnProgress } from '../../transfer/progress.ts';
import type { Clock } from '../clock.ts';
import type { Bulk, BulkPort } from './bulk.ts';
import type { HydratingFile } from './hydrating-file.ts';
import type { OriginLink } from './origin-link.ts';
import type { OpenedOrigin } from './origin.ts';

/** Lost extents that an error names; it counts them all. */
const LOST_NAMED_MAX = 200;
/** How long a range of the background waits for reads that are being fetched. */
const YIELD_MS_MAX = 100;

export interface HydrateOptions {
  readonly file: HydratingFile;
  readonly origin: OriginLink;
  readonly openBulk: (origin: OpenedOrigin) => Promise<Bulk>;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly progress: OnProgress;
}

/** Resolves when all is local and durable. DAMAGED, at the end, when some of it cannot be had. */
export async function hydrate({ file, origin, openBulk, clock, signal, progress }: HydrateOptions): Promise<void> {
  const { extents } = file;
  const unsynced = new AbortController();
  const early = syncEarly({ sync: () => file.persist() }, (error) => unsynced.abort(error));
  let lost: HoldfastError | null = null;
  const port: BulkPort = {
    extents,
    progress,
    signal: AbortSignal.any([signal, unsynced.signal]),
    proceed: () => yieldTo(file, clock),
    onLost: (error) => (lost ??= error),
    onWritten(count, bytes) {
      file.countFetched(count);
      early.wrote(bytes);
    },
  };
  try {
    if (extents.coldCount > 0) await fillAll(port, origin, openBulk);
  } finally {
    await early.ended();
  }
  port.signal.throwIfAborted();
  if (extents.coldCount > 0) throw notAll(file, lost);
  await file.finish();
}

const fillAll = (port: BulkPort, origin: OriginLink, openBulk: HydrateOptions['openBulk']): Promise<void> =>
  origin.use(async (opened) => {
    await using bulk = await openBulk(opened);
    await bulk.fill(port);
  });

/** Whoever waits for an extent goes first, but not for ever. */
async function yieldTo(file: HydratingFile, clock: Clock): Promise<void> {
  if (!file.isAsked) return;
  let cancel: () => void = () => undefined;
  const longEnough = new Promise<void>((resolve) => (cancel = clock.after(YIELD_MS_MAX, resolve)));
  await Promise.race([file.quiet(), longEnough]);
  cancel();
}

function notAll({ extents }: HydratingFile, cause: HoldfastError | null): HoldfastError {
  const named: number[] = [];
  for (const extent of extents.coldIn(0, extents.set.count)) if (named.push(extent) === LOST_NAMED_MAX) break;
  return new HoldfastError(
    'DAMAGED',
    `${extents.coldCount} extents cannot be had${cause === null ? '' : `: ${cause.message}`}`,
    { lostExtents: extents.coldCount, extents: named },
    cause ?? undefined,
  );
}
