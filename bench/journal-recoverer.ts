/**
 * One step of the bench of recoveries in a process of its own, so that its peak of memory is that step's: `node journal-recoverer.ts WORK CACHE STEP TARGET`.
 * The clock begins when the catalog is open, and ends when the target is synced or the first read is answered.
 */
import { readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { repositoryName, volumeName } from '../src/domain/ids.ts';
import { readingOf } from '../src/engine/journal/reading/reading.ts';
import { createOverlay } from '../src/engine/journal/recovery/overlay.ts';
import { planRecovery, type Point } from '../src/engine/journal/recovery/plan.ts';
import { newestVisible, subtreeCount, transferReader, valuesOf } from '../src/engine/repository/transfer-reader.ts';
import { openRestoreTarget } from '../src/engine/transfer/restore-target.ts';
import { restoreSubtree } from '../src/engine/transfer/restore.ts';
import { Threads } from '../src/ground/threads/threads.ts';
import { basesIn, journalIn } from '../src/systems/protection/home-journal.ts';
import { recoverTo } from '../src/systems/protection/recover.ts';
import { openBenchHome } from './installation.ts';
import { secondsSince } from './journal-figures.ts';
import { FINAL, protectionOf, REGION } from './journal-recovery-places.ts';

export type Step = 'recover' | 'restore' | 'first-read';
export interface StepDone {
  readonly seconds: number;
  readonly peakMib: number;
}

const [work = '', cache = '', step = '', target = '', sizeText = '', epoch = '', seq = ''] = process.argv.slice(2);
const sizeBytes = Number(sizeText);
const point: Point = { epoch: Number(epoch), seq: Number(seq) };
await using home = await openBenchHome(work, cache);
await using threads = new Threads();
const protection = protectionOf(sizeBytes);

async function recover(): Promise<void> {
  const [journal, bases] = await Promise.all([
    journalIn(home, protection, false),
    basesIn({ home, threads, scratch: work }, protection, REGION, false),
  ]);
  const reading = readingOf(journal);
  await recoverTo({
    reading,
    bases: new Map([[REGION, bases]]),
    point,
    targets: new Map([[0, { path: target, sizeBytes }]]),
    pin: 'bench',
    pinMs: 3_600_000,
    threads,
  });
}

async function restore(): Promise<void> {
  const reader = await home.reader(REGION, repositoryName(FINAL));
  const snapshot = newestVisible(reader, volumeName(FINAL));
  const { extentBytes } = snapshot;
  await using opened = await openRestoreTarget(target, { sizeBytes, existing: 'refuse' });
  for (let subtree = 0; subtree < subtreeCount(sizeBytes, extentBytes); subtree++)
    await restoreSubtree({
      ...{ values: valuesOf(reader, snapshot, subtree), reader: transferReader(reader, REGION), target: opened },
      ...{ extentBytes, subtree, write: 'all' as const, threads },
    });
  await opened.sync();
}

/** Of a place that the journal wrote, in the middle of the volume. */
async function firstRead(): Promise<void> {
  const reading = readingOf(await journalIn(home, protection, false));
  const bases = await basesIn({ home, threads, scratch: work }, protection, REGION, false);
  const plan = await planRecovery(reading, { point });
  const [base] = plan.start.kind === 'base' ? plan.start.base.snapshots : [];
  const image = base === undefined ? null : await bases.open(base.id);
  const overlay = createOverlay(reading, plan, async (_, into, offset) => image?.read(into, offset));
  for (const { offset } of overlay.written(0))
    if (offset >= sizeBytes / 2) {
      await overlay.read(0, Buffer.alloc(4096), offset);
      return;
    }
}

const steps: Readonly<Record<Step, () => Promise<void>>> = { recover, restore, 'first-read': firstRead };
const begun = performance.now();
await steps[step as Step]();
const seconds = secondsSince(begun);
// Not what getrusage says: that begins with the peak of the process which forked this one.
const peakMib = Math.round(Number(/VmHWM:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? NaN) / 1024);
process.send?.({ seconds, peakMib } satisfies StepDone);
// The next one's cache is as cold.
if (step === 'first-read') rmSync(path.join(work, cache), { recursive: true, force: true });
