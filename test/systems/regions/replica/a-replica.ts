/** A replica on a loopback port before a store of the test's choice, and a client of it. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createFileStore } from '../../../../src/ground/stores/file-store.ts';
import type { ObjectStore } from '../../../../src/ground/stores/object-store.ts';
import { createReplicaStore } from '../../../../src/ground/stores/replica-store.ts';
import { withRetry } from '../../../../src/ground/stores/retrying.ts';
import { replicaFolderOf, type ReplicaFolder } from '../../../../src/systems/regions/replica/folder.ts';
import { serveReplica, type ServingOptions, type ServingReplica } from '../../../../src/systems/regions/replica/serving.ts';

export interface TestReplica extends AsyncDisposable {
  readonly serving: ServingReplica;
  /** Each call once, so that what is unclear is seen. */
  readonly client: ObjectStore & AsyncDisposable;
}

export type Changes = Partial<Omit<ServingOptions, 'folder' | 'store'>> & { readonly token?: string; readonly patienceMs?: number };

export async function startReplica(folder: ReplicaFolder, store: ObjectStore, changes: Changes = {}): Promise<TestReplica> {
  const { token = null, patienceMs, ...options } = changes;
  const serving = await serveReplica({
    ...{ folder, store: withRetry(store), host: 'test', listen: { host: '127.0.0.1', port: 0 }, tls: null },
    ...options,
  });
  const client = clientOf(serving.ear.url, token, patienceMs);
  return {
    serving,
    client,
    async [Symbol.asyncDispose]() {
      await client[Symbol.asyncDispose]();
      await serving.ear.close(0);
      await serving[Symbol.asyncDispose]();
    },
  };
}

export const clientOf = (url: string, token: string | null = null, patienceMs?: number): ObjectStore & AsyncDisposable =>
  createReplicaStore({
    ...{ address: url.replace(/^http/, 'replica'), url: new URL(url), token, tls: null, socketsMax: 32 },
    ...(patienceMs === undefined ? {} : { patienceMs }),
  });

export interface Place extends AsyncDisposable {
  readonly root: string;
  readonly folder: ReplicaFolder;
  /** The store behind: a folder, too. */
  readonly behind: ObjectStore;
  /** A folder of another replica before the same store. */
  another(name: string): ReplicaFolder;
}

export async function makePlace(): Promise<Place> {
  const root = await mkdtemp(join(tmpdir(), 'holdfast-replica-'));
  return {
    root,
    folder: replicaFolderOf(join(root, 'replica')),
    behind: createFileStore({ root: join(root, 'store'), durability: 'os', create: true }),
    another: (name) => replicaFolderOf(join(root, name)),
    [Symbol.asyncDispose]: () => rm(root, { recursive: true, force: true }),
  };
}

export const WAIT_MS = 30_000;

/** Waits for something to become so; says what it saw last when it does not. */
export async function eventually<T>(look: () => T | Promise<T>, isSo: (seen: T) => boolean, what: string): Promise<T> {
  const until = performance.now() + WAIT_MS;
  for (;;) {
    const seen = await look();
    if (isSo(seen)) return seen;
    if (performance.now() > until) throw new Error(`${what}: not within ${WAIT_MS} ms; last seen: ${JSON.stringify(seen)}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
