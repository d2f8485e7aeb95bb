/**
 * The bench of journals, recovery: a volume with a base and a journal of 4 KiB writes over it, recovered to an image beside a plain restore of a
 * snapshot of the same content from the same store, in turns; and the first read of the overlay. Each in a process of its own.
 *
 * Content and writes compress by half.
 */
import { execFileSync, fork } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { repositoryName, volumeName, type StoreName } from '../src/domain/ids.ts';
import type { Home } from '../src/engine/catalog/home.ts';
import { recordFuzzyBase } from '../src/engine/journal/keeping/fuzzy-base.ts';
import { openLocal } from '../src/engine/journal/owning/own-file.ts';
import { Owner, type JournalOp } from '../src/engine/journal/owning/owner.ts';
import { readingOf } from '../src/engine/journal/reading/reading.ts';
import type { Point } from '../src/engine/journal/recovery/plan.ts';
import { workerFlags } from '../src/faces/cli/worker-entry.ts';
import { initialiseFileStore } from '../src/ground/stores/file-root.ts';
import { Threads } from '../src/ground/threads/threads.ts';
import { basesIn, journalIn } from '../src/systems/protection/home-journal.ts';
import { openBenchHome, settleDisk } from './installation.ts';
import { median, MIB, rounded, say, shareOf } from './journal-figures.ts';
import type { Step, StepDone } from './journal-recoverer.ts';
import { EXTENT, FINAL, LOG, protectionOf, REGION } from './journal-recovery-places.ts';
import { captureDirectly } from './large-repositories.ts';

export interface RecoverySizes {
  readonly rounds: number;
  readonly volumeMib: number;
  readonly journalMib: number;
}

const BLOCK = 4096;
const PER_FLUSH = 32;

const digits = (bytes: number): Buffer => Buffer.from(randomBytes(bytes / 2).toString('hex'));

async function addStore(home: Home, work: string, name: StoreName): Promise<void> {
  const root = path.join(work, 'stores', name);
  mkdirSync(root, { recursive: true });
  await initialiseFileStore(root);
  const store = { name, url: `file://${root}`, endpoint: null, region: null, credentials: null, bytesPerSecondMax: null };
  await home.catalog.append(() => ({ kind: 'STORE_ADD', store: { ...store, passphrase: 'env:HOLDFAST_PASSPHRASE', codec: 'zstd-1' } }));
}

const writesOf = (volumeMib: number): readonly JournalOp[] => {
  const data = digits(PER_FLUSH * BLOCK);
  const blocks = (volumeMib * MIB) / BLOCK;
  const writes = Array.from({ length: PER_FLUSH }, (_, i) => ({
    ...{ kind: 'write' as const, volume: 0, data: data.subarray(i * BLOCK, (i + 1) * BLOCK) },
    offset: Math.floor(Math.random() * blocks) * BLOCK,
  }));
  return [...writes, { kind: 'flush' }];
};

/** A base behind a gap, as a disk that is not blank gets one, and the writes over it; the point of the last of them. */
async function build(home: Home, work: string, threads: Threads, { volumeMib, journalMib }: RecoverySizes): Promise<Point> {
  const sizeBytes = volumeMib * MIB;
  const protection = protectionOf(sizeBytes);
  const journal = await journalIn(home, protection, true);
  const folder = path.join(work, 'wal');
  const local = await openLocal({ journal, folder, owner: 'bench', members: protection.members, from: 'own', tailLost: false });
  await using writeAhead = local.writeAhead;
  await using owner = new Owner({ journal, opened: local.opened, writeAhead, carried: local.carried });
  const from = await owner.append([{ kind: 'gap' }]);
  await owner.drain();
  const bases = await basesIn({ home, threads, scratch: work }, protection, REGION, true);
  const image = {
    sizeBytes,
    read: async (into: Buffer): Promise<void> => void digits(into.length).copy(into),
    async *data() {
      yield { offset: 0, length: sizeBytes };
    },
  };
  const { epoch } = owner;
  const notes = { epoch, from, takenMs: Date.now(), consistency: 'crash' as const };
  const snapshots = [await bases.copy(0, image, notes)];
  const recorded = await recordFuzzyBase(readingOf(journal), { region: REGION, snapshots, epoch, from, to: from });
  if (recorded.kind !== 'recorded') throw new Error(JSON.stringify(recorded));
  for (let written = 0; written < journalMib * MIB; written += PER_FLUSH * BLOCK) owner.release(await owner.append(writesOf(volumeMib)));
  return { epoch, seq: await owner.drain() };
}

async function play(work: string, step: Step, target: string, volumeMib: number, point: Point): Promise<StepDone> {
  settleDisk();
  const args = [work, `cache-${step}`, step, target, String(volumeMib * MIB), String(point.epoch), String(point.seq)];
  const child = fork(path.join(import.meta.dirname, 'journal-recoverer.ts'), args, {
    stdio: 'inherit',
    execArgv: [...workerFlags('node')],
  });
  const ended = once(child, 'exit');
  const answer = await Promise.race([once(child, 'message'), ended.then(() => Promise.reject(new Error(`${step} has ended`)))]);
  await ended;
  return answer[0] as StepDone;
}

export async function benchRecovery(work: string, sizes: RecoverySizes) {
  const { rounds, volumeMib, journalMib } = sizes;
  mkdirSync(work, { recursive: true });
  await using home = await openBenchHome(work, 'cache');
  await using threads = new Threads();
  for (const store of [LOG, REGION]) await addStore(home, work, store);
  const point = await build(home, work, threads, sizes);
  const [recovered, restored] = [path.join(work, 'recovered.img'), path.join(work, 'restored.img')];
  await play(work, 'recover', recovered, volumeMib, point);
  const volume = { name: volumeName(FINAL), incarnation: 1, node: 'bench', path: recovered, extentBytes: EXTENT, stores: [REGION] };
  await home.catalog.append(() => ({ kind: 'VOLUME_ADD', volume: { ...volume, repository: repositoryName(FINAL), retired: false } }));
  await captureDirectly({ home }, FINAL, REGION, threads);
  const recoveries: StepDone[] = [];
  const restores: StepDone[] = [];
  const firstReads: StepDone[] = [];
  for (let i = 0; i < rounds; i++) {
    for (const one of [recovered, restored]) rmSync(one, { force: true });
    const recovery = async (): Promise<unknown> => recoveries.push(await play(work, 'recover', recovered, volumeMib, point));
    const restore = async (): Promise<unknown> => restores.push(await play(work, 'restore', restored, volumeMib, point));
    for (const one of i % 2 === 0 ? [recovery, restore] : [restore, recovery]) await one();
    firstReads.push(await play(work, 'first-read', '', volumeMib, point));
    execFileSync('cmp', [recovered, restored]);
    say(`recovery ${rounded(recoveries.at(-1)?.seconds ?? NaN)} s, restore ${rounded(restores.at(-1)?.seconds ?? NaN)} s`);
  }
  rmSync(work, { recursive: true, force: true });
  const secondsOf = (steps: readonly StepDone[]): readonly number[] => steps.map(({ seconds }) => seconds);
  const peakOf = (steps: readonly StepDone[]): number => Math.max(...steps.map(({ peakMib }) => peakMib));
  const rate = (steps: readonly StepDone[]): number => rounded(volumeMib / median(secondsOf(steps)), 0);
  return {
    ...{ volumeMib, journalMib, recoverMibPerSecond: rate(recoveries), restoreMibPerSecond: rate(restores) },
    ...{ share: shareOf(secondsOf(restores), secondsOf(recoveries)), wanted: 0.7 },
    firstReadSeconds: rounded(median(secondsOf(firstReads))),
    wantedFirstReadSeconds: 1,
    peakMib: { recover: peakOf(recoveries), restore: peakOf(restores), firstRead: peakOf(firstReads), wanted: 512 },
  };
}
