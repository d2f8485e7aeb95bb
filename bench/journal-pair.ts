/**
 * The bench of journals, mode `pair`: what is acknowledged with two stores of 5 ms a put beside one of them alone, in turns; how soon after a member
 * failed for good the first acknowledgement comes, beyond the limit of retries or of slowness; and the throughput during the backfill.
 *
 * "One alone" is the same owner and the same batches, with a second member that answers at once and keeps nothing. There the stores lie in memory,
 * where the system has a folder that does: two stores are two machines, and on one disk they would be measured by its half.
 */
import { fork } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { MEMBER_ATTEMPTS_MAX, MEMBER_MS_MAX } from '../src/domain/limits.ts';
import { createJournal } from '../src/engine/journal/creating.ts';
import type { Backfilled } from '../src/engine/journal/keeping/backfill.ts';
import type { Region } from '../src/engine/journal/journal.ts';
import { Owner, type JournalOp } from '../src/engine/journal/owning/owner.ts';
import { takeOver } from '../src/engine/journal/takeover/take-over.ts';
import { settleDisk } from './installation.ts';
import { median, MIB, rounded, say, secondsSince, shareOf } from './journal-figures.ts';
import {
  breakable,
  folderRegion,
  memberOf,
  nothingRegion,
  placesOf,
  type Failure,
  type FolderPlaces,
  type RegionName,
} from './journal-places.ts';

export interface PairSizes {
  readonly rounds: number;
  readonly seconds: number;
}

const PUT_MS = 5;
const RECORD = 4096;
const WRITERS = 16;
/** Records that a writer appends before it flushes. */
const PER_FLUSH = 32;
const VOLUME_RECORDS = 1024 * 1024;
const WARM_MS = 1000;
/** As much as that is written to each of two stores. */
const IN_MEMORY_SECONDS_MAX = 10;
const MEMORY_FOLDER = '/dev/shm';

/** Noise, and enough of it that no batch has a piece twice. */
const NOISE = randomBytes(16 * MIB);

function ops(): readonly JournalOp[] {
  return Array.from({ length: PER_FLUSH }, () => {
    const at = Math.floor(Math.random() * (NOISE.length / RECORD)) * RECORD;
    return {
      ...{ kind: 'write' as const, volume: 0, data: NOISE.subarray(at, at + RECORD) },
      offset: Math.floor(Math.random() * VOLUME_RECORDS) * RECORD,
    };
  });
}

/** Writers that append and flush, each one after the other, as long as it is not disposed of. */
class Load implements AsyncDisposable {
  readonly #owner: Owner;
  readonly #writers: readonly Promise<void>[];
  #acknowledged = 0;
  #ended = false;
  #onAcknowledged: () => void = () => undefined;

  constructor(owner: Owner) {
    this.#owner = owner;
    this.#writers = Array.from({ length: WRITERS }, () => this.#write());
  }

  async #write(): Promise<void> {
    while (!this.#ended) {
      await this.#owner.append(ops());
      await this.#owner.flush();
      this.#acknowledged += PER_FLUSH;
      this.#onAcknowledged();
    }
  }

  /** Records a second that are acknowledged while something goes on. */
  async rateDuring(what: Promise<unknown>): Promise<number> {
    const [before, begun] = [this.#acknowledged, performance.now()];
    await what;
    return (this.#acknowledged - before) / secondsSince(begun);
  }

  /** When, by `performance.now()`, the first flush is acknowledged for which this is true. */
  acknowledgedWhen(isIt: () => boolean): Promise<number> {
    return new Promise((resolve) => {
      this.#onAcknowledged = () => {
        if (!isIt()) return;
        this.#onAcknowledged = () => undefined;
        resolve(performance.now());
      };
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ended = true;
    await Promise.all(this.#writers);
  }
}

async function openOwner(places: FolderPlaces, regions: readonly Region[], spares: readonly RegionName[]): Promise<Owner> {
  const journal = await createJournal(await placesOf(places, regions));
  const opened = await takeOver(journal, { owner: 'bench', mode: 'pair', members: [memberOf('a'), memberOf('b')], tailLost: false });
  return new Owner({ journal, opened, writeAhead: null, spares: spares.map(memberOf) });
}

function emptyPlaces(work: string, name: string): FolderPlaces {
  rmSync(work, { recursive: true, force: true });
  mkdirSync(work, { recursive: true });
  settleDisk();
  return { folder: work, name, putMs: PUT_MS };
}

async function rateOf(work: string, second: 'store' | 'nothing', seconds: number): Promise<number> {
  const places = emptyPlaces(work, 'beside');
  const b = second === 'store' ? await folderRegion(places, 'b') : nothingRegion('b');
  await using owner = await openOwner(places, [await folderRegion(places, 'a'), b], []);
  await using load = new Load(owner);
  await sleep(WARM_MS);
  // Awaited here, or the load is over before it is measured.
  return await load.rateDuring(sleep(seconds * 1000));
}

async function beside(work: string, { rounds, seconds: wanted }: PairSizes) {
  const seconds = Math.min(wanted, IN_MEMORY_SECONDS_MAX);
  const alone: number[] = [];
  const pair: number[] = [];
  for (let i = 0; i < rounds; i++) {
    for (const second of i % 2 === 0 ? (['nothing', 'store'] as const) : (['store', 'nothing'] as const))
      (second === 'store' ? pair : alone).push(await rateOf(work, second, seconds));
    say(`one store alone ${rounded(alone.at(-1) ?? NaN, 0)} records/s, a pair ${rounded(pair.at(-1) ?? NaN, 0)}`);
  }
  return {
    ...{ putMs: PUT_MS, writers: WRITERS, recordsPerFlush: PER_FLUSH },
    aloneRecordsPerSecond: rounded(median(alone), 0),
    pairRecordsPerSecond: rounded(median(pair), 0),
    share: shareOf(pair, alone),
    wanted: 0.9,
  };
}

/** Of a member that fails for good under load: the first acknowledgement that the pair with the spare gives. */
async function failOver(places: FolderPlaces, how: Failure, seconds: number, withBackfill: boolean) {
  const b = breakable(await folderRegion(places, 'b'));
  const regions = [await folderRegion(places, 'a'), b.region, await folderRegion(places, 'c')];
  await using owner = await openOwner(places, regions, ['c']);
  await using load = new Load(owner);
  const { epoch } = owner;
  await sleep(WARM_MS);
  const before = await load.rateDuring(sleep(seconds * 1000));
  const brokenAt = performance.now();
  b.break(how);
  const acknowledgedAt = await load.acknowledgedWhen(() => owner.epoch !== epoch);
  const limitAt = how === 'refuses' ? (b.spentAt(MEMBER_ATTEMPTS_MAX) ?? NaN) : brokenAt + MEMBER_MS_MAX;
  const backfill = withBackfill ? await backfillBeside(places, load, before) : {};
  return {
    limitSeconds: rounded((limitAt - brokenAt) / 1000),
    firstAcknowledgementSeconds: rounded((acknowledgedAt - brokenAt) / 1000),
    beyondLimitSeconds: rounded((acknowledgedAt - limitAt) / 1000),
    wantedBeyondLimitSeconds: 1,
    ...backfill,
  };
}

async function backfillBeside({ folder, name, putMs }: FolderPlaces, load: Load, before: number) {
  const child = fork(path.join(import.meta.dirname, 'journal-backfill.ts'), [folder, name, String(putMs)], { stdio: 'inherit' });
  await once(child, 'message');
  await sleep(WARM_MS);
  const after = await load.rateDuring(sleep(WARM_MS));
  const begun = performance.now();
  const filled = once(child, 'message').then(([answer]) => answer as Backfilled);
  child.send('go');
  const during = await load.rateDuring(filled);
  const { bytes } = await filled;
  return {
    backfill: {
      mib: rounded(bytes / MIB, 0),
      seconds: rounded(secondsSince(begun)),
      ...{ recordsPerSecondBefore: rounded(before, 0), withThird: rounded(after, 0), during: rounded(during, 0) },
      share: rounded(during / before),
      wanted: 0.8,
    },
  };
}

async function besideInMemory(work: string, sizes: PairSizes) {
  if (!existsSync(MEMORY_FOLDER)) return { ...(await beside(work, sizes)), storesIn: 'folders' };
  const folder = mkdtempSync(path.join(MEMORY_FOLDER, 'holdfast-bench-'));
  try {
    return { ...(await beside(folder, sizes)), storesIn: 'memory' };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

export async function benchPair(work: string, sizes: PairSizes) {
  const rates = await besideInMemory(work, sizes);
  const refuses = await failOver(emptyPlaces(work, 'refuses'), 'refuses', sizes.seconds, true);
  const silent = await failOver(emptyPlaces(work, 'silent'), 'is silent', sizes.seconds, false);
  rmSync(work, { recursive: true, force: true });
  return { ...rates, memberRefuses: refuses, memberIsSilent: silent };
}
