/**
 * What a store's own log and packs say, read as a rescue reads them: with its address and passphrase alone. Claims of the
 * demo about order and about what was sent twice rest on this, not on what a job has reported.
 */
import { randomBytes } from 'node:crypto';
import { repositoryName, type SnapshotId } from '../../domain/ids.ts';
import { readDirectory } from '../../engine/repository/destination.ts';
import { openLog } from '../../engine/repository/follower.ts';
import { packNameOf } from '../../engine/repository/object-names.ts';
import type { Repository } from '../../engine/repository/repository.ts';
import { subtreeCount, valuesOf } from '../../engine/repository/transfer-reader.ts';
import { createEnvironment } from '../cli/session.ts';
import { openRescueStore } from '../rescue/rescue-store.ts';
import type { DemoStore } from './demo-folder.ts';
import type { DemoContext } from './demo-context.ts';
import { passphraseVariable, storeUrl, VOLUME } from './installation.ts';
import { left } from './step.ts';
import type { StoredObject } from './store-folders.ts';

export async function lookInto<T>(
  { folder, installation }: DemoContext,
  store: DemoStore,
  look: (repository: Repository) => Promise<T>,
): Promise<T> {
  await using opened = await openRescueStore({
    url: storeUrl(folder, store),
    // A store of a journal holds that one's repository beside it.
    repository: repositoryName(VOLUME),
    passphrase: `env:${passphraseVariable(store)}`,
    access: {},
    variables: installation.secrets,
    environment: await createEnvironment(`demo.${process.pid}`, () => undefined),
  });
  return await look(await left(opened.repositories[0], `the repository in ${store}`).whole());
}

/** Numbers of the log records in which a snapshot was committed, hidden and reclaimed; null: in none. */
export async function recordsOf(
  repository: Repository,
  snapshot: SnapshotId,
): Promise<Readonly<Record<'COMMIT' | 'HIDE' | 'RECLAIM', number | null>>> {
  const log = openLog(repository.store, repository.key, randomBytes);
  const found: Record<'COMMIT' | 'HIDE' | 'RECLAIM', number | null> = { COMMIT: null, HIDE: null, RECLAIM: null };
  for (let seq = 1; ; seq++) {
    const record = await log.read(seq);
    if (record === null) return found;
    for (const entry of record.entries)
      if ((entry.kind === 'COMMIT' || entry.kind === 'HIDE' || entry.kind === 'RECLAIM') && entry.snapshot === snapshot)
        found[entry.kind] = seq;
  }
}

/** How many stored bytes of values some packs hold, and how many of them more than once. */
export async function repeatedBytes(repository: Repository, packs: readonly StoredObject[]): Promise<{ bytes: number; repeated: number }> {
  const seen = new Set<string>();
  let bytes = 0;
  let repeated = 0;
  for (const pack of packs)
    for (const { fingerprint, length } of (await readDirectory(repository, pack.name, pack.bytes)) ?? []) {
      const name = fingerprint.toString('hex');
      bytes += length;
      if (seen.has(name)) repeated += length;
      seen.add(name);
    }
  return { bytes, repeated };
}

/** Where a value of a snapshot lies. */
export interface Place {
  readonly extent: number;
  readonly object: string;
  /** Of a byte in the middle of it. */
  readonly offset: number;
}

/** The place of the value in the middle of a snapshot. */
export async function middleOf(repository: Repository, id: SnapshotId): Promise<Place> {
  const snapshot = left(repository.ledger().snapshots.get(id), `snapshot ${id}`);
  const values: { readonly extent: number; readonly fingerprint: Buffer }[] = [];
  for (let subtree = 0; subtree < subtreeCount(snapshot.sizeBytes, snapshot.extentBytes); subtree++)
    for await (const { extent, fingerprint } of valuesOf(repository, snapshot, subtree))
      values.push({ extent, fingerprint: Buffer.from(fingerprint) });
  const { fingerprint } = left(values[Math.floor(values.length / 2)], 'a value');
  // The first of the extents that hold it is the one that is named.
  const { extent } = left(
    values.find((one) => one.fingerprint.equals(fingerprint)),
    'its extent',
  );
  const { pack, offset, length } = left(repository.locate(fingerprint), 'the place of a value');
  return { extent, object: packNameOf(pack), offset: offset + Math.floor(length / 2) };
}
