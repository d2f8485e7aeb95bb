/**
 * Fetches values of a repository into slots, several ranges in flight, and hands each range to whoever uses it.
 *
 * A locator is a hint: the object may have been collected since, or the hint may be wrong. So a range that is not there,
 * and a value that does not open, are looked up again in the repository's index and read where it says; when the index
 * says the same place, or has no place, the value is lost. At most READ_ROUNDS_MAX times, each of which means that a
 * collector moved the value meanwhile. What a lost value means is the caller's: a restore stops, a verification goes on.
 */
import { HoldfastError } from '../../domain/errors.ts';
import { GETS_IN_FLIGHT, READ_ROUNDS_MAX } from '../../domain/limits.ts';
import { freeBuffer } from '../../ground/threads/free-buffer.ts';
import type { PackKey } from '../../ground/sealing/blob.ts';
import { SLOT_FINGERPRINTS, slotFingerprint, type OpenResult } from '../../ground/threads/tasks.ts';
import type { Location } from '../repository/location.ts';
import type { Batches } from './batches.ts';
import type { ValueReader } from './contract.ts';
import type { OnProgress } from './progress.ts';
import { planReads, type FetchValue, type LocatedValue, type PackRead } from './read-plan.ts';

/** Slots of a transfer that reads packs: ranges on their way, and one a thread being opened. */
export const fetchSlots = (threads: number): number => GETS_IN_FLIGHT + threads;

/** Stored bytes in a slot, from `start` of a pack on; the fingerprints of `values` are in the slot in their order. */
export interface FetchedRange {
  readonly slot: SharedArrayBuffer;
  readonly start: number;
  readonly key: PackKey;
  readonly values: readonly LocatedValue[];
}

/** Uses a range; answers which of its values could not be trusted. */
export type UseRange = (range: FetchedRange) => Promise<OpenResult['failures']>;

export interface LostValue {
  readonly value: FetchValue;
  readonly object: string | null;
  readonly error: HoldfastError;
}

export interface FetchDeps {
  readonly reader: ValueReader;
  readonly extentBytes: number;
  readonly batches: Batches;
  readonly progress: OnProgress;
  readonly use: UseRange;
  /** Whether a value is still wanted when its range's turn has come; a range of which none is is left out. */
  readonly isWanted?: (value: LocatedValue) => boolean;
  /** Resolves when the next range may be read. */
  readonly proceed?: (signal: AbortSignal) => Promise<void>;
  /** Throws to end the fetch. */
  readonly onLost: (lost: LostValue) => void;
}

export async function fetchValues(deps: FetchDeps, values: readonly FetchValue[]): Promise<void> {
  const { batches } = deps;
  let located = values.filter((value): value is LocatedValue => value.location !== null);
  let lost: LostValue[] = values
    .filter((value) => value.location === null)
    .map((value) => ({ value, object: null, error: new HoldfastError('OBJECT_MISSING', 'it is not known where a value lies') }));
  for (let round = 0; located.length > 0 || lost.length > 0; round++) {
    located = [...located, ...(await lookAgain(deps, lost, round))];
    lost = [];
    for (const read of planReads(located, deps.extentBytes)) {
      await deps.proceed?.(batches.signal);
      if (deps.isWanted !== undefined && !read.values.some(deps.isWanted)) continue;
      await batches.run(async (slot) => {
        lost.push(...(await fetchRange(deps, read, slot)));
      });
    }
    await batches.drain();
    located = [];
  }
}

/** Values that the index places elsewhere; the others are lost for good. */
async function lookAgain(deps: FetchDeps, lost: readonly LostValue[], round: number): Promise<LocatedValue[]> {
  const moved: LocatedValue[] = [];
  for (const one of lost) {
    const location = round > READ_ROUNDS_MAX ? null : await deps.reader.locate(one.value.fingerprint, deps.batches.signal);
    if (location === null || samePlace(location, one.value.location)) deps.onLost(one);
    else moved.push({ ...one.value, location });
  }
  return moved;
}

const samePlace = (a: Location, b: Location | null): boolean =>
  b !== null && a.offset === b.offset && a.length === b.length && a.pack.equals(b.pack);

async function fetchRange(deps: FetchDeps, read: PackRead, slot: SharedArrayBuffer): Promise<LostValue[]> {
  const { reader, batches } = deps;
  const { name, packKey } = reader.packOf(read.pack);
  const lose = (value: LocatedValue, code: 'OBJECT_MISSING' | 'DAMAGED' | 'UPGRADE_REQUIRED', what: string): LostValue => ({
    value,
    object: name,
    error: new HoldfastError(code, `${reader.store}: ${what} (extent ${value.extents[0] ?? 'unknown'}, object ${name})`, {
      store: reader.store,
      object: name,
      fingerprint: value.fingerprint.toString('hex'),
      ...(value.extents[0] === undefined ? {} : { extent: value.extents[0] }),
    }),
  });
  if (read.length > SLOT_FINGERPRINTS) return read.values.map((value) => lose(value, 'DAMAGED', 'a locator is out of bounds'));
  const stored = await reader.read(name, { offset: read.offset, length: read.length }, batches.signal);
  if (stored === null) return read.values.map((value) => lose(value, 'OBJECT_MISSING', 'an object is not there'));
  deps.progress({ kind: 'got', store: reader.store, bytes: stored.length });
  if (stored.length < read.length) return read.values.map((value) => lose(value, 'DAMAGED', 'an object is cut short'));
  const bytes = Buffer.from(slot);
  bytes.set(stored);
  freeBuffer(stored);
  read.values.forEach((value, i) => slotFingerprint(bytes, i).set(value.fingerprint));
  const failures = await deps.use({ slot, start: read.offset, key: packKey, values: read.values });
  return failures.flatMap(({ blob, code, message }) => {
    const value = read.values[blob];
    return value === undefined ? [] : [lose(value, code === 'UPGRADE_REQUIRED' ? code : 'DAMAGED', message)];
  });
}
