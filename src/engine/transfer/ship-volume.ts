/**
 * Ships one subtree of a volume to any number of destinations: offer, missing, push.
 *
 *     plan ──batch──▶ hash in a thread ──▶ per destination: differs? known? ──▶ seal in a thread ──▶ packs ──▶ stores
 *
 * Each extent is read once, hashed once and compressed once per codec, however many destinations there are and whatever
 * their bases. A destination that fails is left out from there on, and the others go on; an error of the source or a hint
 * that proves wrong ends the whole. The call is resumable by being made again: what a store has confirmed is adopted.
 */
import type { SourceView, Destination } from './contract.ts';
import { ALWAYS_WELL, type Health } from './health.ts';
import type { OnProgress } from './progress.ts';
import { readingPlan, settleFor, type Reading } from './reading-plan.ts';
import { ROLE_NONE, type Selection } from './selection.ts';
import { withRecipients, type Sending, type ShipOutcome } from './sending.ts';
import { slotFingerprint } from '../../ground/threads/tasks.ts';
import type { Threads } from '../../ground/threads/threads.ts';

export interface VolumeShipment {
  readonly source: SourceView;
  readonly extentBytes: number;
  readonly subtree: number;
  readonly destinations: readonly { readonly destination: Destination; readonly selection: Selection }[];
  readonly threads: Threads;
  readonly health?: Health;
  readonly progress?: OnProgress;
  readonly signal?: AbortSignal;
}

export interface VolumeShipResult {
  /** By store. */
  readonly outcomes: ReadonlyMap<string, ShipOutcome>;
  readonly readBytes: number;
  readonly extentsRead: number;
  /** Values compressed, once per codec. */
  readonly encoded: number;
}

export async function shipSubtree(shipment: VolumeShipment): Promise<VolumeShipResult> {
  const { source, extentBytes, threads, health = ALWAYS_WELL, progress = () => undefined } = shipment;
  const count = { readBytes: 0, extentsRead: 0, encoded: 0 };

  const shipBatch = async (batch: readonly Reading[], slot: SharedArrayBuffer, sending: Sending): Promise<void> => {
    const extents = batch.map((reading) => reading.extent);
    const { content, sizeBytes } = source;
    const filledBytes = content.kind === 'filled' ? await content.fill(Buffer.from(slot), extents, sending.batches.signal) : 0;
    const fd = content.kind === 'descriptor' ? content.fd : null;
    const readBytes = filledBytes + (await threads.run('hash', { slot, fd, extentBytes, sizeBytes, extents })).readBytes;
    source.readBytes += readBytes;
    count.readBytes += readBytes;
    count.extentsRead += batch.length;
    progress({ kind: 'read', bytes: readBytes });
    const bytes = Buffer.from(slot);
    const values = batch.map(({ extent, roles }, place) => {
      const fingerprint = Buffer.from(slotFingerprint(bytes, place));
      const takers = sending.recipients.filter((r, d) => settleFor(r, roles[d] ?? ROLE_NONE, extent, fingerprint));
      return { place, fingerprint, takers };
    });
    const wanted = values.filter((value) => value.takers.length > 0);
    if (wanted.length === 0) return;
    await sending.lanes.carry(wanted, async (part, packs) => {
      const result = await threads.run('seal', { slot, extentBytes, values: part.map((value) => value.place), packs });
      count.encoded += result.encoded;
      return result;
    });
  };

  // One batch more than threads: while one waits for a lane or the main thread, every thread has work.
  const deps = { ...shipment, slots: threads.count + 1, health, progress, destinations: shipment.destinations.map((d) => d.destination) };
  const outcomes = await withRecipients(deps, async (sending) => {
    const selections = shipment.destinations.map((d) => d.selection);
    for await (const batch of readingPlan({ ...shipment, progress, recipients: sending.recipients, selections })) {
      if (sending.recipients.every((r) => r.failure !== null)) return;
      await health.proceed(sending.batches.signal);
      await sending.batches.run((slot) => shipBatch(batch, slot, sending));
    }
  });
  return { outcomes, ...count };
}
