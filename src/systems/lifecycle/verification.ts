/**
 * Verification: is what a snapshot needs there, and is it what was written?
 *
 *     structure   every map node opens and is what its parent names; every value has a row and its pack is there, whole
 *     sample      and a seeded share of the values opens to what its name says
 *     all         and every one of them does
 *
 * Damage is an answer: it names the object, the value, the extents that hold it, and never stops what does not need it.
 */
import { isHoldfastError } from '../../domain/errors.ts';
import type { Damage } from '../../domain/jobs.ts';
import type { SnapshotId, VolumeName } from '../../domain/ids.ts';
import { volumeOf } from '../../domain/ids.ts';
import { packNameOf } from '../../engine/repository/object-names.ts';
import type { Snapshot } from '../../engine/repository/ledger.ts';
import type { RepositoryReader } from '../../engine/repository/reader.ts';
import type { Repository } from '../../engine/repository/repository.ts';
import { transferReader, valuesOf } from '../../engine/repository/transfer-reader.ts';
import type { PlacedValue } from '../../engine/transfer/contract.ts';
import type { OnProgress } from '../../engine/transfer/progress.ts';
import { verifyValues } from '../../engine/transfer/verify.ts';
import type { Threads } from '../../ground/threads/threads.ts';

export type Depth = 'structure' | 'sample' | 'all';

/** One value in a hundred. */
const SAMPLE_SHARE = 0.01;
/** Extents named for one damaged value. */
const EXTENTS_NAMED = 16;
/** Damaged values named in one part; a lost pack holds some 100. */
const DAMAGE_NAMED = 1000;

export interface VerifiedPart {
  readonly values: number;
  readonly readBytes: number;
  readonly damaged: readonly Damage[];
}

export interface VerifyOptions {
  readonly depth: Depth;
  readonly seed: number;
  /** A snapshot verified in the same job: only what differs from it is looked at. */
  readonly since?: Snapshot | null;
  readonly threads: Threads;
  readonly progress?: OnProgress;
  readonly signal?: AbortSignal;
}

/** Verifies one subtree of one snapshot. */
export async function verifyPart(
  repository: Repository,
  store: string,
  snapshot: Snapshot,
  subtree: number,
  options: VerifyOptions,
): Promise<VerifiedPart> {
  const { depth, seed } = options;
  await repository.relook();
  const damaged = new Map<string, Damage>();
  let values = 0;
  const note = (object: string, fingerprint: string, extents: readonly number[]): void => {
    const known = damaged.get(fingerprint);
    if (known === undefined && damaged.size >= DAMAGE_NAMED) return;
    damaged.set(fingerprint, {
      object,
      fingerprint,
      extents: [...(known?.extents ?? []), ...extents].slice(0, EXTENTS_NAMED),
      snapshots: [snapshot.id],
    });
  };
  const packs = new Map<string, boolean>();
  const structure = async function* (): AsyncGenerator<PlacedValue> {
    try {
      for await (const value of valuesOf(repository, snapshot, subtree, options.since ?? null)) {
        values++;
        const row = repository.table.get(value.fingerprint);
        if (row === null) note('index', value.fingerprint.toString('hex'), [value.extent]);
        else if (!(await packWhole(repository, row.location.pack, packs)))
          note(packNameOf(row.location.pack), value.fingerprint.toString('hex'), [value.extent]);
        else yield value;
      }
    } catch (error) {
      if (!isHoldfastError(error, 'DAMAGED', 'OBJECT_MISSING', 'SNAPSHOT_GONE')) throw error;
      note(String(error.details['object'] ?? 'map'), String(error.details['fingerprint'] ?? snapshot.root ?? ''), []);
    }
  };
  if (depth === 'structure') {
    for await (const _ of structure());
    return { values, readBytes: 0, damaged: [...damaged.values()] };
  }
  const chosen = (value: PlacedValue): boolean => (value.fingerprint.readUInt32BE(seed % 28) ^ seed) >>> 0 < SAMPLE_SHARE * 2 ** 32;
  const result = await verifyValues({
    values: structure(),
    reader: transferReader(repository, store),
    extentBytes: snapshot.extentBytes,
    threads: options.threads,
    ...(depth === 'sample' ? { sample: chosen } : {}),
    ...(options.progress ? { progress: options.progress } : {}),
    ...(options.signal ? { signal: options.signal } : {}),
  });
  for (const one of result.damage) note(one.object ?? 'index', one.fingerprint ?? '', one.extents);
  return { values: result.values, readBytes: result.gotBytes, damaged: [...damaged.values()] };
}

/** Whether a pack is there with the size that the log says; asked once a pack. */
async function packWhole(repository: Repository, id: Buffer, known: Map<string, boolean>): Promise<boolean> {
  const name = packNameOf(id);
  const before = known.get(name);
  if (before !== undefined) return before;
  const info = await repository.store.head(name);
  const whole = info !== null && info.sizeBytes === repository.table.pack(id)?.bytes;
  known.set(name, whole);
  return whole;
}

/** Live snapshots of a volume to verify: one, or all that users see. */
export function snapshotsToVerify(repository: RepositoryReader, volume: VolumeName, id: SnapshotId | null): readonly Snapshot[] {
  return [...repository.ledger().snapshots.values()].filter(
    (snapshot) => volumeOf(snapshot.lineage) === volume && (id === null ? !snapshot.hidden : snapshot.id === id),
  );
}

/** Snapshots whose roots differ between two stores, or that only one of them has. */
export function differingRoots(ours: RepositoryReader, theirs: RepositoryReader, volume: VolumeName): readonly SnapshotId[] {
  const rootsOf = (repository: RepositoryReader): Map<SnapshotId, string | null> =>
    new Map(snapshotsToVerify(repository, volume, null).map((snapshot) => [snapshot.id, snapshot.root]));
  const [a, b] = [rootsOf(ours), rootsOf(theirs)];
  return [...new Set([...a.keys(), ...b.keys()])].filter((id) => !a.has(id) || !b.has(id) || a.get(id) !== b.get(id)).sort();
}
