/**
 * Collection in one region: what the log allows to be deleted is listed, and then deleted. A plan first, as data.
 *
 * Invariant J12: the log alone decides, region by region, and a view of any age deletes nothing that is needed. A seal is never
 * deleted: whatever is as small as one is opened before it is counted on, and what does not open stays.
 *
 * Only those names are listed of which some may go: up to the base that is kept, and past the ends of epochs.
 */
import { HoldfastError } from '../../../domain/errors.ts';
import { SEAL_BYTES_MAX } from '../../../domain/limits.ts';
import type { ObjectInfo, ObjectStore } from '../../../ground/stores/object-store.ts';
import { readBatchHead } from '../batch.ts';
import { mayDeleteBatch, mayDeleteSnapshot } from '../collection.ts';
import { keepOf } from '../holdings.ts';
import type { Journal } from '../journal.ts';
import { batchName, copyName, parseBatchName } from '../object-names.ts';
import { inOrder } from '../reading/in-order.ts';
import { isDamage } from '../reading/reading.ts';
import type { Epoch, JournalState } from '../state.ts';
import type { Bases } from './bases.ts';

/** Something that may be deleted. */
export type Collectable =
  | { readonly kind: 'batch'; readonly name: string; readonly sizeBytes: number }
  | { readonly kind: 'snapshot'; readonly id: string; readonly volume: number };

export interface CollectOptions {
  /** The region's bases; without them only batches are collected. */
  readonly bases?: Bases;
  /** A view of the log; without it the newest. */
  readonly state?: JournalState;
  readonly signal?: AbortSignal;
}

/** Objects of which some are opened at once, to tell batches from seals. */
const OPENED_AHEAD = 16;
/** Names in one delete: as many as a store takes, and as a listing has. */
const PAGE = 1000;

/** What may be deleted in a region, page by page; deletes nothing. */
export async function* planCollection(journal: Journal, region: string, options: CollectOptions = {}): AsyncGenerator<Collectable> {
  const { bases, signal } = options;
  const known = journal.regions.get(region);
  if (known === undefined) throw new HoldfastError('STORE_UNREACHABLE', `${region} cannot be reached from here`, { region });
  const state = options.state ?? (await journal.log.sync());
  for (const epoch of state.epochs.values())
    for (const nameOf of [batchName, copyName])
      for (const span of spansOf(state, region, epoch))
        for await (const page of pagesOf(known.store, nameOf, epoch.epoch, span, signal))
          yield* collectableOf(journal, known.store, state, region, page);
  for (const snapshot of (await bases?.list(signal)) ?? [])
    if (mayDeleteSnapshot(state, region, snapshot)) yield { kind: 'snapshot', id: snapshot.id, volume: snapshot.volume };
}

/** Indexes of an epoch, both ends included, of which some may go. */
interface Span {
  readonly from: number;
  readonly to: number;
}

function spansOf(state: JournalState, region: string, { epoch, end }: Epoch): readonly Span[] {
  const past = end === null ? [] : [{ from: end.index + 1, to: Infinity }];
  const keep = keepOf(state, region);
  if (keep === undefined || epoch > keep.at.epoch) return past;
  return epoch < keep.at.epoch ? [{ from: 0, to: Infinity }] : [{ from: 0, to: keep.at.index }, ...past];
}

async function* pagesOf(
  store: ObjectStore,
  nameOf: typeof batchName,
  epoch: number,
  { from, to }: Span,
  signal?: AbortSignal,
): AsyncGenerator<readonly ObjectInfo[]> {
  const prefix = nameOf(epoch, 0).slice(0, nameOf(epoch, 0).lastIndexOf('/') + 1);
  for (let after = from === 0 ? undefined : nameOf(epoch, from - 1); ;) {
    const page = await store.list(prefix, { limit: PAGE, ...(after === undefined ? {} : { after }), ...(signal ? { signal } : {}) });
    const within = page.filter(({ name }) => (parseBatchName(name)?.index ?? Infinity) <= to);
    if (within.length > 0) yield within;
    if (page.length < PAGE || within.length < page.length) return;
    after = page.at(-1)?.name;
  }
}

async function* collectableOf(
  journal: Journal,
  store: ObjectStore,
  state: JournalState,
  region: string,
  page: readonly ObjectInfo[],
): AsyncGenerator<Collectable> {
  const asked = inOrder(page, OPENED_AHEAD, async (info) => {
    const place = parseBatchName(info.name);
    const may = place !== null && mayDeleteBatch(state, region, place.epoch, place.index);
    return { info, may: may && (await isBatch(journal, store, info)) };
  });
  for await (const { info, may } of asked) if (may) yield { kind: 'batch', name: info.name, sizeBytes: info.sizeBytes };
}

/** Whether it is surely a batch: larger than any seal, or opened as one. */
async function isBatch(journal: Journal, store: ObjectStore, { name, sizeBytes }: ObjectInfo): Promise<boolean> {
  const place = parseBatchName(name);
  if (place === null) return false;
  if (sizeBytes > SEAL_BYTES_MAX) return true;
  try {
    const stored = await store.get(name);
    return stored !== null && readBatchHead(journal.key, place, name, stored) !== null;
  } catch (error) {
    if (!isDamage(error)) throw error;
    journal.environment.alarm('an object of a journal does not open and is not collected', { object: name, code: error.code });
    return false;
  }
}

export interface Collected {
  readonly batches: number;
  readonly bytes: number;
  readonly snapshots: number;
}

/** Deletes what may be deleted now. What is gone already is no error, so any number may collect at once. */
export async function collectRegion(journal: Journal, region: string, options: CollectOptions = {}): Promise<Collected> {
  const { store } = journal.regions.get(region) ?? {};
  const { bases, signal } = options;
  const done = { batches: 0, bytes: 0, snapshots: 0 };
  let names: string[] = [];
  const flush = async (): Promise<void> => {
    if (names.length > 0) await store?.delete(names, signal ? { signal } : {});
    names = [];
  };
  for await (const one of planCollection(journal, region, options)) {
    if (one.kind === 'snapshot') {
      await bases?.delete(one.id);
      done.snapshots++;
      continue;
    }
    done.batches++;
    done.bytes += one.sizeBytes;
    if (names.push(one.name) === PAGE) await flush();
  }
  await flush();
  return done;
}
