/**
 * A disk server whose disks are protected, in this process, over stores that are folders, or others that it is given; or what such a server
 * has left, for those who open it in another one.
 */
import { randomBytes } from 'node:crypto';
import { closeSync, existsSync, ftruncateSync, mkdirSync, openSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { HoldfastError } from '../../../src/domain/errors.ts';
import { storeName } from '../../../src/domain/ids.ts';
import { createJournal, openJournal, type JournalPlaces } from '../../../src/engine/journal/creating.ts';
import type { Journal } from '../../../src/engine/journal/journal.ts';
import { backfillRegion } from '../../../src/engine/journal/keeping/backfill.ts';
import { createRepositoryBases } from '../../../src/engine/journal/keeping/repository-bases.ts';
import type { Bases } from '../../../src/engine/journal/keeping/bases.ts';
import { listPoints } from '../../../src/engine/journal/reading/points.ts';
import { readingOf } from '../../../src/engine/journal/reading/reading.ts';
import { currentEpoch } from '../../../src/engine/journal/state.ts';
import type { Environment } from '../../../src/engine/repository/environment.ts';
import { openCached } from '../../../src/engine/repository/cached.ts';
import { ensureRepository } from '../../../src/engine/repository/format.ts';
import { createNodeCaches } from '../../../src/engine/repository/node-cache.ts';
import { GroupFolder, type GroupWanted } from '../../../src/engine/volumes/disks/group-record.ts';
import type { ProtectionState } from '../../../src/engine/volumes/disks/protection-port.ts';
import { diskFolderOf, openHost, type Host } from '../../../src/engine/volumes/host.ts';
import type { ObjectStore } from '../../../src/ground/stores/object-store.ts';
import { interceptStore } from '../../../src/ground/stores/intercept.ts';
import { openStore } from '../../../src/ground/stores/open-store.ts';
import { within } from '../../../src/ground/stores/within.ts';
import { Threads } from '../../../src/ground/threads/threads.ts';
import type { GroupEvent, GroupLimits } from '../../../src/systems/protection/group.ts';
import { createHostProtection } from '../../../src/systems/protection/host-protection.ts';
import { recoverTo, type Recovered } from '../../../src/systems/protection/recover.ts';
import { takeBase, type BaseOutcome, type TakeBaseOptions } from '../../../src/systems/protection/take-base.ts';
import { DiskServer, type DiskEvent } from '../../../src/systems/serving/disk-server.ts';

export const EXTENT = 64 * 1024;
export const SIZE = 64 * EXTENT;
const REGIONS = ['a', 'b', 'c'] as const;
const LISTED_WITHIN_MS = 30_000;
const STATE_WITHIN_MS = 60_000;

export const environment: Environment = {
  writer: 'test',
  nowMs: () => Date.now(),
  random: (size) => randomBytes(size),
  sleep: (ms) => sleep(ms),
  alarm: () => undefined,
};

export interface ProtectionWorld {
  readonly folder: string;
  readonly host: Host;
  readonly events: (DiskEvent | GroupEvent)[];
  /** Stores that do not answer. */
  readonly away: Set<string>;
  /** Puts to a region take so long. */
  putMs: number;
  /** Calls that are not answered as long as this says so, by store and object. */
  isSilent: (store: string, object: string) => boolean;
  start(limits?: GroupLimits): Promise<DiskServer>;
  journal(): Promise<Journal>;
  /** Attaches a blank disk; its URI. */
  attach(disk: string, sizeBytes?: number): Promise<string>;
  group(disks: readonly string[], some?: Partial<GroupWanted>): GroupWanted;
  until(...states: ProtectionState[]): Promise<void>;
  /** Waits until whoever asks the regions is told of a point: its owner says in its next batch that it is acknowledged. */
  untilListed(seq: number): Promise<void>;
  takeBase(some?: Pick<TakeBaseOptions, 'onProgress' | 'silentMs'>): Promise<readonly BaseOutcome[]>;
  /** The members of the current epoch get what they lack. */
  backfill(): Promise<void>;
  /** Of each region, for disks of these sizes. */
  bases(sizes: readonly number[]): Promise<ReadonlyMap<string, Bases>>;
  /** The disks at a point, as files beside the stores. */
  recover(seq: number, sizes: readonly number[]): Promise<{ readonly recovered: Recovered; readonly paths: readonly string[] }>;
  close(): Promise<void>;
}

export interface WorldOptions {
  readonly hostName?: string;
  readonly environment?: Environment;
  /** The stores `log`, `a`, `b` and `c`; absent: folders below the world's. */
  readonly openStore?: (name: string) => Promise<ObjectStore>;
  readonly onEvent?: (event: DiskEvent | GroupEvent) => void;
}

export function openWorld(folder: string, options: WorldOptions = {}): ProtectionWorld {
  const { hostName = 'n1', environment: here = environment } = options;
  const host = openHost(hostName, folder);
  const events: (DiskEvent | GroupEvent)[] = [];
  const onEvent = (event: DiskEvent | GroupEvent): void => {
    events.push(event);
    options.onEvent?.(event);
  };
  const away = new Set<string>();
  const threads = new Threads({ count: 1 });
  let recoveries = 0;

  const inFolder = (name: string): Promise<ObjectStore> =>
    openStore(`file://${path.join(folder, 'stores', name)}`, { create: true, durability: 'os', retry: { attempts: 1 } });
  const storeOf = async (name: string): Promise<ObjectStore> => {
    const store = await (options.openStore ?? inFolder)(name);
    return interceptStore(store, async (call, run) => {
      if (away.has(name)) throw new HoldfastError('STORE_UNREACHABLE', `${name} is away: ${call.operation} ${call.name}`);
      if (call.operation === 'put' && world.putMs > 0) await sleep(world.putMs);
      while (world.isSilent(name, call.name)) await sleep(20);
      return await run();
    });
  };
  const places = async (): Promise<JournalPlaces> => ({
    ...{ name: 'j', passphrase: 'p', environment: here, scryptN: 2, log: await storeOf('log') },
    regions: await Promise.all(REGIONS.map(async (name) => ({ name, domain: `site-${name}`, store: await storeOf(name) }))),
  });
  const basesOf = async (region: string, sizes: readonly number[]): Promise<Bases> => {
    const store = within(await storeOf(region), 'repositories/bases/');
    const unlocked = await ensureRepository(store, 'bases', 'p', Date.now(), { random: randomBytes, scryptN: 2 });
    const caches = { dir: path.join(folder, 'cache', region), nodes: createNodeCaches() };
    const repository = await openCached(store, unlocked, caches, here).whole();
    const volumes = sizes.map((sizeBytes, volume) => ({ volume, sizeBytes }));
    return createRepositoryBases({
      ...{ region, repository, journal: 'j', volumes, extentBytes: EXTENT, codec: 'zstd-1', threads },
      scratch: folder,
    });
  };

  const world: ProtectionWorld = {
    ...{ folder, host, events, away, putMs: 0, isSilent: () => false },
    start: (limits = {}) =>
      DiskServer.start({
        folder: diskFolderOf(folder),
        hooksFolder: path.join(folder, 'hooks'),
        ...{ listen: null, certificates: null, onEvent },
        originOf: () => {
          throw new Error('nothing is restored here');
        },
        protection: createHostProtection({
          folder: new GroupFolder(diskFolderOf(folder).journals),
          host: hostName,
          journalOf: async (_, create) => (create ? createJournal(await places()) : openJournal(await places())),
          ...{ random: randomBytes, nowMs: () => performance.now() },
          onEvent,
          limits: { retryMs: 50, ...limits, owner: { batchMs: 20, ...limits.owner } },
        }),
      }),
    journal: async () => openJournal(await places()),
    async attach(name, sizeBytes = SIZE) {
      const file = path.join(folder, `${name}.img`);
      if (!existsSync(file)) {
        const fd = openSync(file, 'w');
        ftruncateSync(fd, sizeBytes);
        closeSync(fd);
      }
      const { uris } = await host.disks.attach({ format: 1, name, path: file, sizeBytes, extentBytes: EXTENT, hydration: null });
      return uris[0] ?? '';
    },
    group: (disks, some = {}) => ({
      ...{ format: 1, journal: 'j', disks: [...disks], mode: 'local', log: storeName('log') },
      members: [
        { region: storeName('a'), domain: 'site-a' },
        { region: storeName('b'), domain: 'site-b' },
      ],
      ...some,
    }),
    async until(...states) {
      for (const until = performance.now() + STATE_WITHIN_MS; ;) {
        const [status] = await host.disks.protection();
        if (status !== undefined && states.includes(status.state)) return;
        if (performance.now() > until) throw new Error(`it is ${JSON.stringify(status)}, and not ${states.join(' or ')}`);
        await sleep(25);
      }
    },
    async untilListed(seq) {
      const reading = readingOf(await world.journal());
      for (const until = performance.now() + LISTED_WITHIN_MS; ; await sleep(20)) {
        const { points } = await listPoints(reading, { after: seq - 1 });
        if (points.some((point) => point.seq === seq)) return;
        if (performance.now() < until) continue;
        const [status] = await host.disks.protection();
        throw new Error(`point ${seq} is not listed, only ${points.map((point) => point.seq).join(', ')}: ${JSON.stringify(status)}`);
      }
    },
    async takeBase(some = {}) {
      const [status] = await host.disks.protection();
      if (status === undefined) throw new Error('nothing is protected');
      const sizes = await Promise.all(status.group.disks.map(async (name) => (await diskFolderOf(folder).read(name))?.sizeBytes ?? 0));
      const bases = await Promise.all(status.group.members.map(({ region }) => basesOf(region, sizes)));
      const { disks } = host;
      return takeBase({
        group: status.group,
        disks,
        reading: readingOf(await world.journal()),
        ...{ bases, ...some },
        signal: AbortSignal.timeout(60_000),
      });
    },
    async backfill() {
      const reading = readingOf(await world.journal());
      const { members = [] } = currentEpoch(await reading.journal.log.sync()) ?? {};
      for (const { region } of members) await backfillRegion(reading, region);
    },
    bases: async (sizes) => new Map(await Promise.all(REGIONS.map(async (region) => [region, await basesOf(region, sizes)] as const))),
    async recover(seq, sizes) {
      const reading = readingOf(await world.journal());
      const { epochs } = await reading.journal.log.sync();
      const epoch = [...epochs.values()].findLast(({ start }) => start <= seq)?.epoch ?? 0;
      const bases = await world.bases(sizes);
      const run = ++recoveries;
      mkdirSync(path.join(folder, 'recovered'), { recursive: true });
      const targets = new Map(sizes.map((sizeBytes, i) => [i, { sizeBytes, path: path.join(folder, 'recovered', `${run}-${i}.img`) }]));
      const recovered = await recoverTo({ ...{ reading, bases, targets }, point: { epoch, seq }, pin: `recover.${run}`, pinMs: 60_000 });
      return { recovered, paths: [...targets.values()].map((target) => target.path) };
    },
    async close() {
      await threads[Symbol.asyncDispose]();
    },
  };
  return world;
}
