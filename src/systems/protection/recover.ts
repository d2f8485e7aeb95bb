/**
 * The disks of a group as they were at a point, in new image files (docs/protection.md, section 7).
 *
 *     pin ──▶ plan, and meanwhile the base's content ──▶ the replay over it ──▶ sync ──▶ unpin
 *
 * Nothing of the journal is changed but the pin, which keeps the floor below the point meanwhile. Interrupted, it is begun anew.
 *
 * Not below the point, but to it: a newer base may be made and what this plan needs dropped while it goes on. So what is gone has it
 * planned anew, into targets that are emptied. A base that is damaged, not there, or in a store that does not answer is left for another one, as long
 * as there is one, and so is one that leads over a batch which is nowhere as it was written.
 */
import { HoldfastError, isHoldfastError } from '../../domain/errors.ts';
import { KIB, RECOVERY_PLANS_MAX } from '../../domain/limits.ts';
import type { Bases, RestoredBase } from '../../engine/journal/keeping/bases.ts';
import { pinPoint, unpin } from '../../engine/journal/keeping/pins.ts';
import { isDamage, isSilence, type Reading } from '../../engine/journal/reading/reading.ts';
import { beyondLosses } from '../../engine/journal/recovery/loss.ts';
import { planRecovery, type Point, type RecoveryPlan } from '../../engine/journal/recovery/plan.ts';
import { replayInto } from '../../engine/journal/recovery/replay-into.ts';
import type { StartIn } from '../../engine/journal/recovery/starts.ts';
import { runsOf } from '../../engine/journal/recovery/stretches.ts';
import type { ReplayStart } from '../../engine/journal/holdings.ts';
import type { Place } from '../../engine/journal/sealed-object.ts';
import { openRestoreTarget, type RestoreTarget } from '../../engine/transfer/restore-target.ts';
import { Threads } from '../../ground/threads/threads.ts';

export interface RecoverOptions {
  readonly reading: Reading;
  /** By region. */
  readonly bases: ReadonlyMap<string, Bases>;
  readonly point: Point;
  /** By the disk's number in the group; disks that are not named are not recovered. */
  readonly targets: ReadonlyMap<number, RecoveryTarget>;
  /** Names the pin: another one for each recovery, the same for its tries. */
  readonly pin: string;
  /** How long the pin may stand if nobody takes it off. */
  readonly pinMs: number;
  /** Threads of this process; without it, some of its own. */
  readonly threads?: Threads;
  readonly onProgress?: (progress: RecoveryProgress) => void;
  readonly signal?: AbortSignal;
}

export interface RecoveryTarget {
  readonly path: string;
  readonly sizeBytes: number;
}

export interface RecoveryProgress {
  readonly phase: 'base' | 'replay';
  /** So far, of both phases. */
  readonly writtenBytes: number;
  /** Of the replay alone; 0 until that is planned. */
  readonly replayBytes: number;
  readonly elapsedMs: number;
}

export interface Recovered {
  readonly point: Point;
  readonly labelUs: number;
  /** Whose base it was made of; `baseSeq`: its number, 0: the empty volume. */
  readonly region: string;
  readonly baseSeq: number;
  readonly baseBytes: number;
  readonly replayBytes: number;
}

/** POINT_GONE; DAMAGED and the like with the last sound number; TARGET_EXISTS when a target holds anything; STORE_UNREACHABLE. */
export async function recoverTo(options: RecoverOptions): Promise<Recovered> {
  const { reading, point, pin, pinMs } = options;
  const { journal } = reading;
  await using stack = new AsyncDisposableStack();
  const threads = options.threads ?? stack.use(new Threads());
  await pinPoint(journal, { pin, point, untilMs: journal.environment.nowMs() + pinMs, why: 'recovered from' });
  try {
    return await recoverPinned({ ...options, threads });
  } finally {
    await unpin(journal, pin);
  }
}

type Recovering = RecoverOptions & { readonly threads: Threads };

async function recoverPinned(options: Recovering): Promise<Recovered> {
  const { journal } = options.reading;
  const unusable = new Map<string, HoldfastError>();
  let [isFirst, mayGuess, replans] = [true, true, 0];
  return beyondLosses(async (beyond) => {
    for (;;) {
      const { n } = await journal.log.sync();
      const attempt = { unusable, beyond, isFirst, mayGuess };
      isFirst = false;
      try {
        const recovered = await recoverOnce(options, attempt);
        if (recovered !== 'other base') return recovered;
        mayGuess = false;
      } catch (error) {
        if (error instanceof UnusableBase) {
          // One that is named twice is no base that can be left out.
          if (unusable.has(error.snapshot)) throw error.why;
          unusable.set(error.snapshot, error.why);
          continue;
        }
        // The plan was right when it was made: what has gone since leads to a newer base.
        const hasMoved = (await journal.log.sync()).n > n;
        if (!isHoldfastError(error, 'OBJECT_MISSING') || !hasMoved || ++replans >= RECOVERY_PLANS_MAX) throw error;
      }
    }
  });
}

interface Attempt {
  /** Snapshots of bases that cannot be had as they were, and why. */
  readonly unusable: ReadonlyMap<string, HoldfastError>;
  /** The last batch that was found not to be had. */
  readonly beyond: Place | null;
  /** Whether the targets are as they were given. */
  readonly isFirst: boolean;
  /** Whether the base that is tried first is written while what follows it is still read. */
  readonly mayGuess: boolean;
}

/** A snapshot of a base that cannot be had as it was. */
class UnusableBase extends Error {
  readonly snapshot: string;
  readonly why: HoldfastError;

  constructor(snapshot: string, why: HoldfastError) {
    super(why.message);
    this.snapshot = snapshot;
    this.why = why;
  }
}

/**
 * The base is written in parts, for the replay writes over it a page here and a page there: the system keeps pages as they were
 * written, and to change one of 64 (an extent) costs it 8 us, one of 4 a third of that. Single ones would make the base slower.
 */
const PART_BYTES = 16 * KIB;

/** `other base`: the one that was begun with is not the plan's. */
async function recoverOnce(options: Recovering, attempt: Attempt): Promise<Recovered | 'other base'> {
  const { reading, point, threads, signal } = options;
  await using opened = new AsyncDisposableStack();
  const targets = await openTargets(options, attempt, opened);
  const progress = progressOf(options);
  const begun: BegunBase[] = [];
  const planned = Promise.withResolvers<RecoveryPlan>();
  const begin = (start: StartIn): void => void begun.push(beginBase(options, start, targets, planned.promise, progress));
  const onStart = (start: StartIn): void => void (attempt.mayGuess && begun.length === 0 && begin(start));
  try {
    const plan = await planAround(options, attempt, onStart);
    planned.resolve(plan);
    if (begun.length === 0) begin(plan);
    const [base] = begun;
    if (base === undefined || !isStartOf(base.start, plan)) return 'other base';
    progress.plans(plan);
    await base.ended;
    const baseBytes = progress.writtenBytes();
    const onWritten = (bytes: number): void => progress.wrote('replay', bytes);
    await replayInto(reading, plan, { targets, threads, onWritten, ...(signal ? { signal } : {}) });
    for (const target of targets.values()) await target.sync();
    const { region, labelUs, start } = plan;
    const baseSeq = start.kind === 'base' ? start.base.from : 0;
    return { point, labelUs, region, baseSeq, baseBytes, replayBytes: progress.writtenBytes() - baseBytes };
  } finally {
    // Before the targets are closed.
    for (const base of begun) await base.stop();
  }
}

async function openTargets(options: Recovering, { isFirst }: Attempt, opened: AsyncDisposableStack): Promise<Targets> {
  const targets = new Map<number, RestoreTarget>();
  for (const [volume, { path, sizeBytes }] of options.targets) {
    // What is there from the second time on is what this recovery has written.
    const existing = isFirst ? 'blank' : 'replace';
    targets.set(volume, opened.use(await openRestoreTarget(path, { sizeBytes, existing, partBytes: PART_BYTES })));
  }
  return targets;
}

type Targets = ReadonlyMap<number, RestoreTarget>;

interface BegunBase {
  readonly start: StartIn;
  /** UnusableBase; errors of a restore. */
  readonly ended: Promise<void>;
  /** Resolves when nothing of it is written any more. */
  stop(): Promise<void>;
}

/**
 * Stretches of a replay up to which its base is made durable while it is written, as a restore does. With more it is left to the system: a page
 * that is synced and then changed goes to the disk twice, the second time alone, and that is a third of the time of a recovery.
 */
const REWRITES_MAX = 16_384;

/** Writes the content of a base; what `planned` overwrites whole is left out as soon as that is known. */
function beginBase(options: Recovering, begin: StartIn, targets: Targets, planned: Promise<RecoveryPlan>, progress: Counting): BegunBase {
  const { start, region } = begin;
  const stopped = new AbortController();
  const signal = options.signal === undefined ? stopped.signal : AbortSignal.any([options.signal, stopped.signal]);
  const onWritten = (bytes: number): void => progress.wrote('base', bytes);
  let rewrites = Infinity;
  planned.then(({ stretches }) => (rewrites = stretches.count)).catch(() => undefined);
  const syncing = (target: RestoreTarget): RestoreTarget => ({
    ...target,
    sync: () => (rewrites > REWRITES_MAX ? Promise.resolve() : target.sync()),
  });
  const ended = (async () => {
    for (const { volume, id } of start.kind === 'base' ? start.base.snapshots : []) {
      const target = targets.get(volume);
      if (target === undefined) continue;
      const overwritten = planned.then(({ stretches }) => runsOf(stretches, volume));
      await restoreBase(options, region, id, { target: syncing(target), overwritten, onWritten, signal });
    }
  })();
  // It may fail while the plan is still made; told to whoever waits for it then.
  ended.catch(() => undefined);
  return {
    start: begin,
    ended,
    async stop() {
      stopped.abort();
      await ended.catch(() => undefined);
    },
  };
}

function isStartOf({ region, start }: StartIn, plan: RecoveryPlan): boolean {
  const idsOf = (of: ReplayStart): string => (of.kind === 'base' ? of.base.snapshots.map(({ id }) => id).join() : '');
  return region === plan.region && idsOf(start) === idsOf(plan.start);
}

async function restoreBase({ bases }: Recovering, region: string, id: string, into: RestoredBase): Promise<void> {
  try {
    if (await (bases.get(region)?.restore(id, into) ?? false)) return;
  } catch (error) {
    throw isDamage(error) || isSilence(error) ? new UnusableBase(id, error) : error;
  }
  throw new UnusableBase(id, new HoldfastError('OBJECT_MISSING', `base ${id} of ${region} is not to be had`, { snapshot: id, region }));
}

/** A plan without the bases that were found to be of no use; where there is none the first of these says why, unless somebody is silent. */
async function planAround(
  { reading, point }: Recovering,
  { unusable, beyond }: Attempt,
  onStart: (start: StartIn) => void,
): Promise<RecoveryPlan> {
  try {
    return await planRecovery(reading, { point, unusable: new Set(unusable.keys()), beyond, onStart });
  } catch (error) {
    const [first] = unusable.values();
    throw first === undefined || isSilence(error) ? error : first;
  }
}

interface Counting {
  wrote(phase: RecoveryProgress['phase'], bytes: number): void;
  plans(plan: RecoveryPlan): void;
  writtenBytes(): number;
}

function progressOf({ reading, onProgress = () => undefined }: RecoverOptions): Counting {
  const { environment } = reading.journal;
  const begunMs = environment.nowMs();
  let replayBytes = 0;
  let writtenBytes = 0;
  return {
    wrote(phase, bytes) {
      writtenBytes += bytes;
      onProgress({ phase, writtenBytes, replayBytes, elapsedMs: environment.nowMs() - begunMs });
    },
    plans({ stretches }) {
      replayBytes = stretches.lengths.reduce((sum, length) => sum + length, 0);
    },
    writtenBytes: () => writtenBytes,
  };
}
