/**
 * Reads what a repository holds and checks it, without stopping at the first thing that is wrong.
 *
 * Two views of the same bytes. verifyValues checks the values of a snapshot (all, or a seeded sample) where the index and
 * the locators say they lie: can this snapshot be restored? verifyPacks checks whole objects against their own directories:
 * is every byte what was written? Both open every blob they look at and hold it against its fingerprint. A store that does
 * not answer ends the check; what is missing or damaged is an answer.
 */
import { HoldfastError } from '../../domain/errors.ts';
import { PACK_BYTES_MAX } from '../../domain/limits.ts';
import { SLOT_BYTES } from '../../ground/threads/tasks.ts';
import type { Threads } from '../../ground/threads/threads.ts';
import { openDirectory, parseTrailer, TRAILER_BYTES, type PackEntry } from '../repository/pack.ts';
import { Batches } from './batches.ts';
import type { PlacedValue, ValueReader } from './contract.ts';
import { fetchSlots, fetchValues, type LostValue, type UseRange } from './fetch.ts';
import type { OnProgress } from './progress.ts';
import type { FetchValue } from './read-plan.ts';

/** Something that is not as it was written, and what that means. */
export interface Damage {
  readonly object: string | null;
  /** Hex; null when the object as a whole cannot be read. */
  readonly fingerprint: string | null;
  /** Extents of the volume that hold the value, where that is known. */
  readonly extents: readonly number[];
  readonly error: HoldfastError;
}

export interface VerifyResult {
  readonly values: number;
  readonly plainBytes: number;
  readonly gotBytes: number;
  readonly damage: readonly Damage[];
}

interface VerifyDeps {
  readonly reader: ValueReader;
  readonly extentBytes: number;
  readonly threads: Threads;
  readonly progress?: OnProgress;
  readonly signal?: AbortSignal;
}

export interface ValuesVerification extends VerifyDeps {
  readonly values: AsyncIterable<PlacedValue>;
  /** Which values to look at; default all. A seeded choice gives a sample that can be repeated. */
  readonly sample?: (value: PlacedValue) => boolean;
}

/** Checks the values of a snapshot or of one subtree of it. */
export async function verifyValues(verification: ValuesVerification): Promise<VerifyResult> {
  return verifying(verification, async (check) => {
    const byValue = new Map<string, FetchValue & { readonly extents: number[] }>();
    for await (const value of verification.values) {
      if (verification.sample?.(value) === false) continue;
      const key = value.fingerprint.toString('latin1');
      const known = byValue.get(key);
      if (known === undefined) byValue.set(key, { fingerprint: value.fingerprint, location: value.location, extents: [value.extent] });
      else known.extents.push(value.extent);
    }
    await check.values([...byValue.values()]);
  });
}

export interface PacksVerification extends VerifyDeps {
  /** Packs of extents, and how long the store says they are. */
  readonly packs: AsyncIterable<{ readonly id: Buffer; readonly sizeBytes: number }>;
}

/** Packs whose directories are held at once: at 256 KiB 16 packs hold some 2,000 values. */
const PACKS_AT_ONCE = 16;

/** Checks whole packs: trailer, directory, and every value that the directory names. */
export async function verifyPacks(verification: PacksVerification): Promise<VerifyResult> {
  // A value that lies well elsewhere does not make this pack whole: the index is not asked.
  const { reader: own } = verification;
  const reader: ValueReader = {
    store: own.store,
    packOf: (id) => own.packOf(id),
    read: (name, range, signal) => own.read(name, range, signal),
    locate: () => Promise.resolve(null),
  };
  return verifying({ ...verification, reader }, async (check) => {
    let values: FetchValue[] = [];
    let packs = 0;
    for await (const { id, sizeBytes } of verification.packs) {
      const entries = await readDirectory(verification, id, sizeBytes, check.damage);
      values.push(...entries.map((entry) => ({ fingerprint: entry.fingerprint, location: { ...entry, pack: id }, extents: [] })));
      if (++packs % PACKS_AT_ONCE !== 0) continue;
      await check.values(values);
      values = [];
    }
    await check.values(values);
  });
}

async function readDirectory(
  deps: VerifyDeps,
  id: Buffer,
  sizeBytes: number,
  onDamage: (damage: Damage) => void,
): Promise<readonly PackEntry[]> {
  const { name, packKey } = deps.reader.packOf(id);
  try {
    const tail = await deps.reader.read(name, { offset: Math.max(0, sizeBytes - TRAILER_BYTES), length: TRAILER_BYTES }, deps.signal);
    if (tail === null) throw new HoldfastError('OBJECT_MISSING', `pack ${name} is not there`, { object: name });
    if (sizeBytes > PACK_BYTES_MAX)
      throw new HoldfastError('DAMAGED', `pack ${name} is longer than a pack can be`, { object: name, sizeBytes });
    const trailer = parseTrailer(tail, sizeBytes, name);
    const { offset, length } = trailer;
    const sealed = await deps.reader.read(name, { offset, length }, deps.signal);
    if (sealed?.length !== length) throw new HoldfastError('DAMAGED', `pack ${name} is cut short`, { object: name, sizeBytes });
    return openDirectory(packKey, sealed, trailer, name);
  } catch (error) {
    if (!(error instanceof HoldfastError) || (error.code !== 'DAMAGED' && error.code !== 'OBJECT_MISSING')) throw error;
    onDamage({ object: name, fingerprint: null, extents: [], error });
    return [];
  }
}

interface Check {
  values(values: readonly FetchValue[]): Promise<void>;
  damage(damage: Damage): void;
}

async function verifying(deps: VerifyDeps, body: (check: Check) => Promise<void>): Promise<VerifyResult> {
  const { threads, reader, extentBytes } = deps;
  const slots = fetchSlots(threads.count);
  using reservation = await threads.buffers.reserve(slots * SLOT_BYTES, deps.signal);
  const batches = new Batches(reservation, slots, deps.signal);
  const damage: Damage[] = [];
  const count = { values: 0, plainBytes: 0, gotBytes: 0 };
  const progress: OnProgress = (event) => {
    if (event.kind === 'got') count.gotBytes += event.bytes;
    deps.progress?.(event);
  };
  const use: UseRange = async ({ slot, start, key, values }) => {
    const blobs = values.map(({ location }, place) => ({ place, offset: location.offset, length: location.length, targets: [] }));
    const result = await threads.run('open', { slot, start, key, blobs, target: null });
    count.values += values.length - result.failures.length;
    count.plainBytes += result.plainBytes;
    return result.failures;
  };
  const onLost = ({ value, object, error }: LostValue): void => {
    damage.push({ object, fingerprint: value.fingerprint.toString('hex'), extents: value.extents, error });
  };
  try {
    await body({
      values: (values) => fetchValues({ reader, extentBytes, batches, progress, use, onLost }, values),
      damage: (one) => damage.push(one),
    });
    return { ...count, damage };
  } catch (error) {
    batches.stop(error);
    throw batches.signal.reason;
  } finally {
    await batches.ended();
  }
}
