/**
 * Places of a journal of mode `pair` for the bench: regions that are folders, of which each put takes as long as one to a store that is
 * away; one that may fail for good; and one that takes everything at once and keeps nothing.
 */
import { randomBytes } from 'node:crypto';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { HoldfastError } from '../src/domain/errors.ts';
import type { JournalPlaces } from '../src/engine/journal/creating.ts';
import type { Region } from '../src/engine/journal/journal.ts';
import { interceptStore } from '../src/ground/stores/intercept.ts';
import type { ObjectStore } from '../src/ground/stores/object-store.ts';
import { openStore } from '../src/ground/stores/open-store.ts';
import { say } from './journal-figures.ts';

export type RegionName = 'a' | 'b' | 'c';

/** Answers no call any more: by an error each time, or never. */
export type Failure = 'refuses' | 'is silent';

export interface FolderPlaces {
  readonly folder: string;
  readonly name: string;
  readonly putMs: number;
}

const openFolder = (folder: string, name: string): Promise<ObjectStore> =>
  openStore(`file://${path.join(folder, name)}`, { create: true, durability: 'os', retry: { attempts: 1 } });

const slowed = (store: ObjectStore, putMs: number): ObjectStore =>
  interceptStore(store, async ({ operation }, run) => {
    if (operation === 'put') await sleep(putMs);
    return run();
  });

/** A second member that holds nobody up. */
const NOTHING: ObjectStore = {
  put: async () => 'created',
  get: async () => null,
  // An owner takes no member that lacks the first objects of its journal: here whatever is asked for is there.
  head: async (name) => ({ name, sizeBytes: 0 }),
  list: async () => [],
  delete: async () => undefined,
  describe: () => ({ url: 'bench:nothing', conditionalPut: true, retention: false }),
};

const regionOf = (name: RegionName, store: ObjectStore): Region => ({ name, domain: `site-${name}`, store });

export const memberOf = (region: RegionName): { readonly region: RegionName; readonly domain: string } => ({
  region,
  domain: `site-${region}`,
});

export const folderRegion = async ({ folder, putMs }: FolderPlaces, name: RegionName): Promise<Region> =>
  regionOf(name, slowed(await openFolder(folder, name), putMs));

export const nothingRegion = (name: RegionName): Region => regionOf(name, NOTHING);

export const placesOf = async ({ folder, name }: FolderPlaces, regions: readonly Region[]): Promise<JournalPlaces> => ({
  ...{ name, regions, passphrase: 'a passphrase of the bench', log: await openFolder(folder, 'log') },
  environment: {
    writer: 'bench',
    nowMs: () => Date.now(),
    random: (n) => randomBytes(n),
    sleep: (ms) => sleep(ms),
    alarm: (message) => say(message),
  },
});

/** A region that can be broken. */
export interface Breakable {
  readonly region: Region;
  break(how: Failure): void;
  /** When, by `performance.now()`, a put to one place had failed so often; null: it has not. */
  spentAt(attempts: number): number | null;
}

export function breakable({ name, domain, store }: Region): Breakable {
  let failure: Failure | null = null;
  const failures = new Map<string, number[]>();
  const answer = async (operation: string, object: string, signal: AbortSignal | undefined): Promise<void> => {
    if (failure === 'is silent') await new Promise((_, reject) => signal?.addEventListener('abort', () => reject(signal.reason as Error)));
    if (failure !== 'refuses') return;
    if (operation === 'put') failures.set(object, [...(failures.get(object) ?? []), performance.now()]);
    throw new HoldfastError('STORE_UNREACHABLE', `${name} is gone`);
  };
  const broken = interceptStore(store, async ({ operation, name: object, signal }, run) => {
    await answer(operation, object, signal);
    const what = await run();
    // One that was under way is not answered either.
    await answer(operation, object, signal);
    return what;
  });
  return {
    region: { name, domain, store: broken },
    break: (how) => (failure = how),
    spentAt(attempts) {
      const times = [...failures.values()].flatMap((at) => at[attempts - 1] ?? []);
      return times.length === 0 ? null : Math.min(...times);
    },
  };
}
