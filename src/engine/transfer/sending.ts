/**
 * What shipping from a volume and copying from a repository share: recipients, lanes, buffers, and how it all ends.
 *
 * A job's memory is reserved before anything starts: slots of 4 MiB, and (lanes + flights) packs a destination. Lanes
 * follow the threads. Where the buffers of the process do not reach for packs of 16 MiB, packs are smaller, down to
 * PACK_BYTES_LEAST, and below that there are fewer lanes. With two threads (120 MiB of buffers, 13 MiB of them slots):
 *
 *     destinations   lanes + flights   pack bytes   packs in all
 *     1              2 + 2             16 MiB        64 MiB
 *     3              2 + 2              8 MiB        96 MiB
 *     8              1 + 1              6 MiB        96 MiB
 *
 * However it ends, nothing is left running when the call returns: batches have ended, puts have ended, buffers are free.
 */
import { HoldfastError } from '../../domain/errors.ts';
import { MIB, PACK_BYTES_MAX, PUTS_IN_FLIGHT } from '../../domain/limits.ts';
import type { Threads } from '../../ground/threads/threads.ts';
import { SLOT_BYTES } from '../../ground/threads/tasks.ts';
import { Batches } from './batches.ts';
import type { Destination, SubtreeReceipt } from './contract.ts';
import type { Health } from './health.ts';
import { PackLanes, type LaneCounts } from './pack-lanes.ts';
import type { OnProgress } from './progress.ts';
import { Recipient } from './recipient.ts';

export type ShipOutcome = { readonly ok: true; readonly receipt: SubtreeReceipt } | { readonly ok: false; readonly error: HoldfastError };

export interface SendingDeps {
  readonly destinations: readonly Destination[];
  readonly subtree: number;
  readonly extentBytes: number;
  readonly threads: Threads;
  readonly slots: number;
  readonly health: Health;
  readonly progress: OnProgress;
  readonly signal?: AbortSignal;
}

/** The least that a pack's buffer is made for the sake of memory. */
const PACK_BYTES_LEAST = 6 * MIB;

function laneCounts(destinations: number, threads: number, packBytesInAll: number): LaneCounts {
  for (let lanes = threads; ; lanes--) {
    // As many in flight as there are lanes: a crash costs one pack a store and thread, sent in part and sent again.
    const flights = Math.min(PUTS_IN_FLIGHT, lanes);
    const share = Math.floor(packBytesInAll / (destinations * (lanes + flights)) / MIB) * MIB;
    if (share >= PACK_BYTES_LEAST || lanes === 1)
      return { lanes, flights, packBytes: Math.min(PACK_BYTES_MAX, Math.max(PACK_BYTES_LEAST, share)) };
  }
}

/** What the body of a transfer works with. */
export interface Sending {
  readonly recipients: readonly Recipient[];
  readonly lanes: PackLanes;
  readonly batches: Batches;
}

/** Runs `body` over freshly made recipients, finishes those that did not fail, and answers for each store. */
export async function withRecipients(
  deps: SendingDeps,
  body: (sending: Sending) => Promise<void>,
): Promise<ReadonlyMap<string, ShipOutcome>> {
  const { threads, destinations } = deps;
  const slotBytes = deps.slots * SLOT_BYTES;
  const counts = laneCounts(destinations.length, threads.count, threads.buffers.capacityBytes - slotBytes);
  const packBytes = destinations.length * (counts.lanes + counts.flights) * counts.packBytes;
  using reservation = await threads.buffers.reserve(slotBytes + packBytes, deps.signal);
  const batches = new Batches(reservation, deps.slots, deps.signal);
  const { signal } = batches;
  const recipients = destinations.map((destination) => new Recipient(destination, deps.subtree, signal));
  const lanes = new PackLanes({ ...deps, recipients, counts, reservation, signal });
  try {
    await Promise.all(recipients.map((r) => r.adopt().catch((error: unknown) => r.fail(error))));
    await body({ recipients, lanes, batches });
    await batches.drain();
    await lanes.finish();
    signal.throwIfAborted();
  } catch (error) {
    batches.stop(error);
    throw signal.reason;
  } finally {
    await batches.ended();
    await lanes.settled();
  }
  return new Map(await Promise.all(recipients.map(async (r) => [r.destination.store, await finish(r, signal)] as const)));
}

async function finish(recipient: Recipient, signal: AbortSignal): Promise<ShipOutcome> {
  try {
    if (recipient.failure === null) return { ok: true, receipt: await recipient.destination.finishSubtree(recipient.outcome(), signal) };
  } catch (error) {
    signal.throwIfAborted();
    recipient.fail(error);
  }
  return { ok: false, error: recipient.failure ?? new HoldfastError('INTERNAL', 'a destination ended without an outcome') };
}
