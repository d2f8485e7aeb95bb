/**
 * What a replica consists of, put together in the order that its promises ask for: the folder's lock, what the disk has, the mark in the store, the names of
 * the store if they are new here, and trust in the mark, looked at once more.
 */
import { randomBytes } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { HoldfastError } from '../../../domain/errors.ts';
import { tryProcessLock } from '../../../ground/processes/process-lock.ts';
import type { ObjectStore } from '../../../ground/stores/object-store.ts';
import { sleep, type Sleep } from '../../../ground/stores/sleep.ts';
import type { Entry } from './entry-bytes.ts';
import type { ReplicaFolder } from './folder.ts';
import { LOOK_MS_MAX, REPLICA_LIMITS, type ReplicaLimits } from './limits.ts';
import { ReplicaLog, type SegmentFile } from './log.ts';
import { namesBehind, takeMark, type Claim, type Mark, type MarkDeps } from './mark.ts';
import { NameIndex } from './names.ts';
import { Room, type Held } from './room.ts';
import { Trust } from './trust.ts';
import { Waiting } from './waiting.ts';

export interface ReplicaOptions {
  readonly folder: ReplicaFolder;
  /** The store behind; unclear answers are tried again by it. */
  readonly store: ObjectStore;
  readonly host: string;
  readonly takeOver?: Claim['takeOver'];
  readonly limits?: Partial<ReplicaLimits>;
  /** It waits for another one's trust to end. */
  readonly onWait?: (ms: number, other: Mark | null) => void;
  readonly onFenced?: (error: HoldfastError) => void;
  readonly sleep?: Sleep;
  readonly createFile?: (path: string) => Promise<SegmentFile>;
}

export interface Parts {
  readonly limits: ReplicaLimits;
  readonly epoch: number;
  readonly store: ObjectStore;
  readonly index: NameIndex;
  readonly log: ReplicaLog;
  readonly waiting: Waiting;
  readonly room: Room;
  readonly trust: Trust;
  readonly marks: MarkDeps;
  readonly pause: Sleep;
}

export const roomOf = ({ names, sizeBytes }: Entry): Held => ({
  things: names.length,
  bytes: sizeBytes,
});

/** Errors as of `Replica.open`. What is opened is the stack's. */
export async function openParts(options: ReplicaOptions, stack: AsyncDisposableStack): Promise<Parts> {
  const { folder, store, host, takeOver = 'no', sleep: pause = sleep } = options;
  const limits = { ...REPLICA_LIMITS, ...options.limits };
  await mkdir(folder.root, { recursive: true, mode: 0o700 });
  const lock = await tryProcessLock(folder.lock);
  if (lock === null) throw new HoldfastError('REPLICA_RUNS', `another process uses ${folder.root}`, { folder: folder.root });
  stack.use(lock);
  const index = stack.use(NameIndex.open(folder.index, () => randomBytes(16).toString('hex')));
  const waiting = new Waiting();
  const room = new Room({ things: limits.waitingObjects, bytes: limits.waitingBytes }, () => performance.now());
  const opened = await ReplicaLog.open({
    ...{ folder: folder.log, segmentBytes: limits.segmentBytes, random: randomBytes, moved: index.moved },
    replica: Buffer.from(index.identity.replica, 'hex'),
    onDurable: (entry) => waiting.add(entry, Date.now()),
    ...(options.createFile ? { createFile: options.createFile } : {}),
  });
  const log = stack.use(opened.log);
  for (const entry of opened.entries) {
    waiting.add(entry, Date.now());
    room.hold(roomOf(entry));
  }
  const { trustMs, clientPatienceMs } = limits;
  const marks: MarkDeps = { ...{ store, index, host, trustMs, clientPatienceMs }, random: randomBytes, sleep: (ms) => pause(ms) };
  const claim: Claim = { hasWaiting: opened.entries.length > 0, takeOver, onWait: options.onWait ?? (() => undefined) };
  const epoch = await takeMark(marks, claim);
  if (!index.isFilled) await index.fill(namesBehind(store));
  const onFenced = options.onFenced ?? (() => undefined);
  const lookMs = Math.min(LOOK_MS_MAX, limits.trustMs / 4);
  const trust = stack.use(new Trust({ ...{ store, epoch, onFenced, lookMs }, trustMs: limits.trustMs }));
  // It may have been overtaken while it waited and listed.
  await trust.confirm(-1);
  return { limits, epoch, store, index, log, waiting, room, trust, marks, pause };
}
