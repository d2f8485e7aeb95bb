/**
 * The bench of journals, mode `local`: a served volume with a journal beside itself without one, in turns, under 4 KiB random writes with a flush every 32
 * at depth 16; its RPO under that load, and under twice what its store takes; what goes to the store for each byte; and the disk server's memory.
 *
 * One image for both, written fully before, in an installation as a user has one. fio's buffers are filled anew for each write, so no batch
 * compresses. What is said to be taken by the slow store is half of what the disk wrote with a journal, and fio is held to twice that.
 */
import { randomBytes } from 'node:crypto';
import { closeSync, openSync, rmSync, writeSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { storeName } from '../src/domain/ids.ts';
import { findStore } from '../src/engine/catalog/catalog.ts';
import type { Disks } from '../src/engine/volumes/disks/disk-client.ts';
import type { ProtectionStatus } from '../src/engine/volumes/disks/protection-port.ts';
import { openHost } from '../src/engine/volumes/host.ts';
import { createFileStore } from '../src/ground/stores/file-store.ts';
import { listAll } from '../src/ground/stores/object-store.ts';
import { openInstallation, settleDisk, type Installation } from './installation.ts';
import { median, MIB, percentile, rounded, say, shareOf } from './journal-figures.ts';
import { fio, type Load } from './volumes-nbd-servers.ts';

export interface LocalSizes {
  readonly rounds: number;
  readonly seconds: number;
  readonly imageMib: number;
}

const BLOCK = 4096;
const LOAD: Load = { name: '4 KiB randwrite, depth 16', rw: 'randwrite', blockBytes: BLOCK, depth: 16 };
const FIO_MORE = ['--fsync=32', '--refill_buffers=1'];
const POLL_MS = 100;
const DRAIN_MS_MAX = 120_000;

interface Served {
  readonly folder: string;
  readonly disks: Disks;
  readonly disk: string;
  readonly uri: string;
}

async function serve(installation: Installation, folder: string, imageMib: number): Promise<Served> {
  const image = path.join(folder, 'loaded.img');
  const file = openSync(image, 'w');
  for (let at = 0; at < imageMib; at++) writeSync(file, randomBytes(MIB), 0, MIB, at * MIB);
  closeSync(file);
  await installation.addVolume('loaded', image, ['near']);
  const { result } = await installation.run('attachVolume', { volume: 'loaded' });
  const { disks } = openHost('bench', installation.folder);
  const [status] = await disks.list();
  return { folder, disks, disk: status?.record.name ?? '', uri: result.uris[0] ?? '' };
}

interface Rpo {
  readonly p99Ms: number;
  readonly maxMs: number;
  /** In how many of the looks the group was in which state. */
  readonly states: Readonly<Record<string, number>>;
}

/** Ten looks a second while something goes on. */
async function rpoDuring(disks: Disks, what: Promise<unknown>): Promise<Rpo> {
  let over = false;
  void what.catch(() => undefined).finally(() => (over = true));
  const seen: ProtectionStatus[] = [];
  while (!over) {
    seen.push(...(await disks.protection()));
    await sleep(POLL_MS);
  }
  const ages = seen.map(({ rpoMs }) => rpoMs);
  const states: Record<string, number> = {};
  for (const { state } of seen) states[state] = (states[state] ?? 0) + 1;
  return { p99Ms: percentile(ages, 0.99), maxMs: Math.max(...ages), states };
}

async function storedBytes(root: string, journal: string): Promise<number> {
  let bytes = 0;
  for await (const { sizeBytes } of listAll(createFileStore({ root }), `journals/${journal}/e/`)) bytes += sizeBytes;
  return bytes;
}

/** Everything is in its region. */
async function drained(disks: Disks): Promise<void> {
  for (let waited = 0; waited < DRAIN_MS_MAX; waited += POLL_MS) {
    const [status] = await disks.protection();
    if (status !== undefined && status.heldBytes === 0 && status.rpoMs === 0) return;
    await sleep(POLL_MS);
  }
  throw new Error('the journal was not shipped in time');
}

interface Protected {
  readonly iops: number;
  readonly rpo: Rpo;
  readonly amplification: number;
}

async function underJournal(
  { disks, disk, uri, folder }: Served,
  root: string,
  of: { readonly journal: string; readonly store: string; readonly seconds: number; readonly more: readonly string[] },
): Promise<Protected> {
  const { journal, store, seconds, more } = of;
  const members = [{ region: storeName(store), domain: 'near' }];
  await disks.protect({ format: 1, journal, disks: [disk], mode: 'local', log: storeName('log'), members });
  settleDisk();
  const writing = fio(uri, LOAD, seconds, folder, [...FIO_MORE, ...more]);
  const rpo = await rpoDuring(disks, writing);
  const iops = await writing;
  await drained(disks);
  const bytes = await storedBytes(root, journal);
  await disks.unprotect(journal);
  rmSync(path.join(root, 'journals'), { recursive: true, force: true });
  return { iops, rpo, amplification: bytes / (iops * seconds * BLOCK) };
}

export async function benchLocal(work: string, { rounds, seconds, imageMib }: LocalSizes) {
  await using installation = await openInstallation(path.join(work, 'installation'));
  const server = await installation.startDisks();
  await installation.addStore('log');
  const near = await installation.addStore('near');
  const slow = await installation.addStore('slow');
  const served = await serve(installation, work, imageMib);
  const plain: number[] = [];
  const journaled: Protected[] = [];
  for (let i = 0; i < rounds; i++) {
    const without = async (): Promise<void> => {
      settleDisk();
      plain.push(await fio(served.uri, LOAD, seconds, work, FIO_MORE));
    };
    const withOne = async (): Promise<void> => {
      journaled.push(await underJournal(served, near, { journal: `round-${i}`, store: 'near', seconds, more: [] }));
    };
    for (const one of i % 2 === 0 ? [without, withOne] : [withOne, without]) await one();
    say(`without a journal ${rounded(plain.at(-1) ?? NaN, 0)}/s, with one ${rounded(journaled.at(-1)?.iops ?? NaN, 0)}/s`);
  }
  const rates = journaled.map(({ iops }) => iops);
  const bytesPerSecondMax = Math.round((median(rates) * BLOCK) / 2);
  await installation.home.catalog.append((state) => ({
    kind: 'STORE_SET',
    store: { ...findStore(state, storeName('slow')), bytesPerSecondMax },
  }));
  const more = [`--rate_iops=${Math.round((2 * bytesPerSecondMax) / BLOCK)}`];
  const overloaded = await underJournal(served, slow, { journal: 'overloaded', store: 'slow', seconds: 2 * seconds, more });
  return {
    iopsWithout: rounded(median(plain), 0),
    iopsWith: rounded(median(rates), 0),
    ...{ share: shareOf(rates, plain), wanted: 0.6 },
    rpo: {
      p99Ms: Math.max(...journaled.map(({ rpo }) => rpo.p99Ms)),
      maxMs: Math.max(...journaled.map(({ rpo }) => rpo.maxMs)),
      wantedP99Ms: 1000,
    },
    amplification: { median: rounded(median(journaled.map(({ amplification }) => amplification))), wanted: 1.15 },
    twiceTheStore: {
      mibPerSecondMax: rounded(bytesPerSecondMax / MIB, 1),
      iops: rounded(overloaded.iops, 0),
      ...overloaded.rpo,
      wantedMs: 2000,
    },
    diskServerPeakMib: { peak: server.peakMib(), wanted: 512 },
  };
}
