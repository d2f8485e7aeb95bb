/**
 * A journal in real file stores, and the processes that open it: each with its own handles, its own faults and its own gate. What was
 * acknowledged is kept, and compared with what a reader finds who knows the page alone.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { randomBytes } from 'node:crypto';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { createJournal, openJournal, type JournalPlaces } from '../../../../src/engine/journal/creating.ts';
import type { Member } from '../../../../src/engine/journal/entries.ts';
import type { Journal } from '../../../../src/engine/journal/journal.ts';
import { Owner, type JournalOp, type OwnerLimits, type OwnerOptions } from '../../../../src/engine/journal/owning/owner.ts';
import { takeOver, type TakeOverOptions } from '../../../../src/engine/journal/takeover/take-over.ts';
import type { Environment } from '../../../../src/engine/repository/environment.ts';
import type { ObjectStore } from '../../../../src/ground/stores/object-store.ts';
import { HoldfastError } from '../../../../src/domain/errors.ts';
import { interceptStore } from '../../../../src/ground/stores/intercept.ts';
import { createMemoryStore } from '../../memory-store.ts';
import { openStore } from '../../../../src/ground/stores/open-store.ts';

const NAMES = ['a', 'b', 'c', 'd'] as const;
export type Name = (typeof NAMES)[number];
export const member = (region: string): Member => ({ region, domain: `site-${region}` });
export const MEMBERS: readonly Member[] = NAMES.map(member);

/** Short, so that what a test waits for comes soon. */
export const QUICK: Partial<OwnerLimits> = { batchMs: 15, memberAttemptsMax: 2, memberMsMax: 60_000 };

export type Around = (store: ObjectStore, of: Name | 'log') => ObjectStore;

export const write = (data: string, offset = 0): JournalOp => ({ kind: 'write', volume: 0, offset, data: Buffer.from(data) });

export interface World extends AsyncDisposable {
  readonly folder: string;
  readonly stores: ReadonlyMap<Name | 'log', ObjectStore>;
  readonly alarms: string[];
  /** A process's view of the journal. */
  open(around?: Around, environment?: Partial<Environment>): Promise<Journal>;
  /** Everything that region ever held is gone, and it answers no more. */
  destroy(region: Name): void;
  /** The region answers no more, until it is back. */
  readonly away: Set<Name | 'log'>;
}

/** In files, which is what most are about; in memory, where there are to be many. */
export async function createWorld(where: 'files' | 'memory' = 'files'): Promise<World> {
  const folder = await mkdtemp(path.join(tmpdir(), 'holdfast-journal-'));
  const stores = new Map<Name | 'log', ObjectStore & Partial<AsyncDisposable>>();
  for (const name of ['log', ...NAMES] as const)
    if (where === 'memory') stores.set(name, createMemoryStore());
    else stores.set(name, await openStore(`file://${path.join(folder, name)}`, { create: true, durability: 'os', retry: { attempts: 1 } }));
  const away = new Set<Name | 'log'>();
  const alarms: string[] = [];
  const environment: Environment = {
    writer: 'test',
    nowMs: () => Date.now(),
    random: (size) => randomBytes(size),
    sleep: (ms) => wait(Math.min(ms, 20)),
    alarm: (message, details) => void alarms.push(`${message} ${JSON.stringify(details)}`),
  };
  const storeOf = (name: Name | 'log'): ObjectStore => {
    const store = stores.get(name);
    if (store === undefined) throw new Error(`no store ${name}`);
    return mayBeAway(store, name, away);
  };
  const places = (around: Around, some: Partial<Environment>): JournalPlaces => ({
    name: 'j',
    passphrase: 'p',
    log: around(storeOf('log'), 'log'),
    regions: NAMES.map((name) => ({ name, domain: `site-${name}`, store: around(storeOf(name), name) })),
    environment: { ...environment, ...some },
    scryptN: 2,
  });
  await createJournal(places((store) => store, {}));
  return {
    folder,
    stores,
    alarms,
    away,
    open: (around = (store) => store, some = {}) => openJournal(places(around, some)),
    destroy(region) {
      away.add(region);
    },
    async [Symbol.asyncDispose]() {
      for (const store of stores.values()) await store[Symbol.asyncDispose]?.();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

const mayBeAway = (store: ObjectStore, name: Name | 'log', away: ReadonlySet<Name | 'log'>): ObjectStore =>
  interceptStore(store, async (call, run) => {
    if (away.has(name)) throw new HoldfastError('STORE_UNREACHABLE', `${name} is away: ${call.operation} ${call.name}`);
    return await run();
  });

/** Waits for what must come to be, however slow the machine is; what comes of it is the caller's to check. */
export async function comesToBe(isSo: () => boolean | Promise<boolean>): Promise<void> {
  for (const until = performance.now() + 30_000; performance.now() < until && !(await isSo());) await wait(5);
}

/** Takes the journal over as a pair, and owns it. */
export async function ownPair(journal: Journal, owner: string, some: Partial<TakeOverOptions & OwnerOptions> = {}): Promise<Owner> {
  const opened = await takeOver(journal, { owner, mode: 'pair', members: MEMBERS, tailLost: false, ...some });
  return new Owner({ journal, opened, writeAhead: null, limits: QUICK, ...some });
}
