/**
 * What shipping from a volume and copying from a repository share: recipients, lanes, buffers, and how it all ends.
 *
 * A job's memory is reserved before anything starts: slots of 4 MiB, and (lanes + flights) packs of 16 MiB a destination.
 * Lanes follow the threads, but no further than the buffers of the process allow for so many destinations:
 *
 *     1 destination, 2 threads   3 slots + 4 packs             76 MiB
 *     3 destinations, 2 threads  3 slots + 12 packs           204 MiB
 *     8 destinations, 2 threads  3 slots + 8 x (1 + 1) packs  268 MiB
 *
 * However it ends, nothing is left running when the call returns: batches have ended, puts have ended, buffers are free.
 */
import { HoldfastError } from '../../domain/errors.ts';
import { PACK_BYTES_MAX, PUTS_IN_FLIGHT } from '../../domain/limits.ts';
import { BUFFER_BYTES_DEFAULT, type Threads } from '../../ground/threads/threads.ts';
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

export function laneCounts(destinations: number, threads: number): LaneCounts {
  const packs = Math.floor(BUFFER_BYTES_DEFAULT / PACK_BYTES_MAX / destinations);
  const lanes = Math.max(1, Math.min(threads, Math.floor(packs / 2)));
  // As many in flight as there are lanes: a crash costs one pack a store and thread, sent in part and sent again.
  return { lanes, flights: Math.min(PUTS_IN_FLIGHT, lanes) };
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
  const counts = laneCounts(destinations.length, threads.count);
  const packBytes = destinations.length * (counts.lanes + counts.flights) * PACK_BYTES_MAX;
  using reservation = await threads.buffers.reserve(deps.slots * SLOT_BYTES + packBytes, deps.signal);
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
