/** Values and their places: each is fetched once, however many extents of a volume hold it, and written at all of them. */
import type { OpenResult } from '../../ground/threads/tasks.ts';
import type { Threads } from '../../ground/threads/threads.ts';
import type { PlacedValue } from './contract.ts';
import type { FetchedRange } from './fetch.ts';
import type { FetchValue, LocatedValue } from './read-plan.ts';

/** Values by fingerprint, each with all its positions, as far as these go. */
export async function byFingerprint(values: AsyncIterable<PlacedValue>): Promise<FetchValue[]> {
  const known = new Map<string, FetchValue & { readonly extents: number[] }>();
  for await (const { extent, fingerprint, location } of values) {
    const key = fingerprint.toString('latin1');
    const value = known.get(key);
    if (value === undefined) known.set(key, { fingerprint, location, extents: [extent] });
    else value.extents.push(extent);
  }
  return [...known.values()];
}

/** Opens and checks a range in a thread, which writes each value to the target at `extentsOf` it; those of none are left out. */
export async function placeRange(
  threads: Threads,
  { slot, start, key, values }: FetchedRange,
  target: { readonly fd: number; readonly sizeBytes: number; readonly extentBytes: number; readonly partBytes?: number },
  extentsOf: (value: LocatedValue) => readonly number[] = ({ extents }) => extents,
): Promise<OpenResult> {
  const { fd, sizeBytes, extentBytes, partBytes = extentBytes } = target;
  const blobs = values.flatMap((value, place) => {
    const targets = extentsOf(value).map((extent) => extent * extentBytes);
    const { offset, length } = value.location;
    return targets.length === 0 ? [] : [{ place, offset, length, targets }];
  });
  const result = await threads.run('open', { slot, start, key, blobs, target: { fd, sizeBytes, partBytes } });
  // Failures are of the task's blobs; to its caller they are of the range's values.
  return { ...result, failures: result.failures.map((failure) => ({ ...failure, blob: blobs[failure.blob]?.place ?? failure.blob })) };
}
