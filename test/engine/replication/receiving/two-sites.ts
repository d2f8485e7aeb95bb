/**
 * A sender's store and a receiver's in one installation: real repositories in folders, and a receiver that can be started anew.
 * Faults are made where they happen: in the files of the receiver's store.
 */
import { expect } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { storeName, type RepositoryName, type SnapshotId } from '../../../../src/domain/ids.ts';
import type { HomeOptions } from '../../../../src/engine/catalog/home.ts';
import type { Snapshot } from '../../../../src/engine/repository/ledger.ts';
import type { Repository } from '../../../../src/engine/repository/repository.ts';
import type { Peer } from '../../../../src/engine/replication/frames.ts';
import type { ReceivingLimits } from '../../../../src/engine/replication/receiving/limits.ts';
import { createReceiving, type Receiving } from '../../../../src/engine/replication/receiving/receiving.ts';
import { verifyValues } from '../../../../src/engine/transfer/verify.ts';
import { transferReader, valuesOf } from '../../../../src/engine/repository/transfer-reader.ts';
import { Threads } from '../../../../src/ground/threads/threads.ts';
import { shipCapture } from '../../../systems/capture-volume.ts';
import { writeExtents, type ImageWrite } from '../../../systems/image.ts';
import { createInstallation, openHomeIn, environmentOf, type Installation } from '../../../systems/installation.ts';
import { sendSnapshot, type SenderOptions, type Sent } from './tiny-sender.ts';

export { harm, type Damage } from './harm.ts';

export const EXTENT = 16 * 1024;

export const PEER: Peer = {
  ...{ id: 'token', store: 'there', repository: null, prefix: 'from-', rights: ['add'] },
  ...{ quotaBytes: null, retentionFloorMs: null, proof: 'listed' },
};

export interface TwoSites extends AsyncDisposable {
  readonly installation: Installation;
  readonly threads: Threads;
  receiving(): Receiving;
  /** Ends the receiver as a crash would, with what it remembers, and starts another. */
  restart(): Promise<void>;
  capture(writes: readonly ImageWrite[], sizeBytes?: number): Promise<Snapshot>;
  source(): Promise<Repository>;
  /** The receiver's repository of the volume. */
  target(): Promise<Repository>;
  send(snapshot: Snapshot, options?: Partial<SenderOptions>): Promise<Sent>;
  /** Packs of the receiver's store, by path. */
  packs(): string[];
  readonly sessions: string;
}

const VOLUME = 'v';

export async function twoSites(limits: Partial<ReceivingLimits> = {}, decorate?: HomeOptions['decorate']): Promise<TwoSites> {
  const installation = await createInstallation();
  const threads = new Threads({ count: 2 });
  await installation.addStore('here');
  await installation.addStore('there');
  const sessions = path.join(installation.folder, 'sessions');
  let caches = 0;
  const begin = async () => {
    const environment = environmentOf('receiver', () => undefined);
    const cacheDir = path.join(installation.folder, `cache-${caches++}`);
    const home = await openHomeIn(installation.folder, installation.variables, environment, {
      cacheDir,
      retry: { attempts: 1, baseDelayMs: 1 },
      ...(decorate ? { decorate } : {}),
    });
    return {
      home,
      receiving: await createReceiving({ home, threads, folder: sessions, limits: { listingMs: 0, claimsPerMinute: 1000, ...limits } }),
    };
  };
  let current = await begin();
  let known = false;
  const source = () => installation.repository('here', VOLUME);
  return {
    installation,
    threads,
    sessions,
    receiving: () => current.receiving,
    async restart() {
      await current.receiving[Symbol.asyncDispose]();
      await current.home[Symbol.asyncDispose]();
      current = await begin();
    },
    async capture(writes, sizeBytes = 2 ** 20 * 8) {
      if (!known) await installation.addVolume(VOLUME, ['here'], { sizeBytes, extentBytes: EXTENT, writes });
      else writeExtents(installation.imageOf(VOLUME), sizeBytes, EXTENT, writes);
      known = true;
      const shipped = await shipCapture(installation.home, threads, VOLUME, { owner: randomOwner(), attempt: 1 }, { allowShrink: true });
      expect((await shipped.commit()).map(({ kind }) => kind)).toEqual(['committed']);
      return snapshotOf(await source(), shipped.snapshot);
    },
    source,
    async target() {
      const repository = await current.home.repository(storeName('there'), `${PEER.prefix}${VOLUME}` as RepositoryName);
      await repository.sync();
      return repository;
    },
    async send(snapshot, options = {}) {
      const own = { source: await source(), snapshot, hearing: () => current.receiving, peer: PEER };
      return sendSnapshot({ ...own, owner: `run ${snapshot.id}`, ...options });
    },
    packs: () => filesOf(path.join(installation.storeFolder('there'), 'repositories')).filter((file) => /-p[0-9a-f]{4}$/.test(file)),
    async [Symbol.asyncDispose]() {
      await current.receiving[Symbol.asyncDispose]();
      await current.home[Symbol.asyncDispose]();
      await threads[Symbol.asyncDispose]();
      await installation[Symbol.asyncDispose]();
    },
  };
}

export function snapshotOf(repository: Repository, id: SnapshotId): Snapshot {
  const snapshot = repository.ledger().snapshots.get(id);
  if (snapshot === undefined) throw new Error(`no snapshot ${id}`);
  return snapshot;
}

const filesOf = (folder: string): string[] =>
  !existsSync(folder)
    ? []
    : readdirSync(folder, { recursive: true, withFileTypes: true }).flatMap((entry) =>
        entry.isFile() ? [path.join(entry.parentPath, entry.name)] : [],
      );

/** What is wrong with a snapshot at the receiver, read as a stranger would: cold, every value. */
export async function whatIsWrong(sites: TwoSites, snapshot: Snapshot): Promise<readonly string[]> {
  await sites.restart();
  const repository = await sites.target();
  const there = repository.ledger().snapshots.get(snapshot.id);
  if (there === undefined) return ['it is not there'];
  if (there.root !== snapshot.root) return [`its root is ${there.root}`];
  const { damage, values } = await verifyValues({
    ...{ reader: transferReader(repository, 'there'), extentBytes: EXTENT, threads: sites.threads, values: valuesOf(repository, there, 0) },
  });
  if (values === 0 && snapshot.root !== null) return ['nothing was read'];
  return damage.map(({ error }) => error.message);
}

/** Extents [from, from + count) with content numbers of their own; equal seeds, equal bytes. */
export const extents = (from: number, count: number, seed: number): ImageWrite[] =>
  Array.from({ length: count }, (_, i) => ({ extent: from + i, content: seed * 100_000 + i + 1 }));

const randomOwner = (): string => `run ${randomBytes(4).toString('hex')}`;
