/** What is held once: closed epochs of which fewer than two regions hold all, and how many bytes that is. */
import { listAll } from '../../../ground/stores/object-store.ts';
import { atRisk, holdsAll, isNeeded } from '../holdings.ts';
import type { Journal } from '../journal.ts';
import { batchName, copyName, parseBatchName } from '../object-names.ts';
import type { Epoch } from '../state.ts';

export interface AtRisk {
  readonly epochs: readonly number[];
  /** Stored bytes of their batches, in the region that holds them; of an epoch whose holder cannot be reached from here none. */
  readonly bytes: number;
}

export async function heldOnce(journal: Journal, signal?: AbortSignal): Promise<AtRisk> {
  const state = await journal.log.sync();
  const epochs = atRisk(state);
  let bytes = 0;
  for (const epoch of epochs) {
    const holder = [...journal.regions.keys()].find((region) => holdsAll(state, region, epoch));
    if (holder === undefined) continue;
    bytes += await bytesIn(journal, holder, epoch, (index) => isNeeded(state, holder, epoch.epoch, index), signal);
  }
  return { epochs: epochs.map(({ epoch }) => epoch), bytes };
}

async function bytesIn(
  { regions }: Journal,
  region: string,
  { epoch, end }: Epoch,
  counts: (index: number) => boolean,
  signal?: AbortSignal,
): Promise<number> {
  const store = regions.get(region)?.store;
  if (store === undefined) return 0;
  const sizes = new Map<number, number>();
  for (const nameOf of [copyName, batchName]) {
    const first = nameOf(epoch, 0);
    for await (const { name, sizeBytes } of listAll(store, first.slice(0, first.lastIndexOf('/') + 1), signal ? { signal } : {})) {
      const index = parseBatchName(name)?.index ?? Infinity;
      if (index <= (end?.index ?? -1) && counts(index)) sizes.set(index, sizeBytes);
    }
  }
  return [...sizes.values()].reduce((sum, size) => sum + size, 0);
}
