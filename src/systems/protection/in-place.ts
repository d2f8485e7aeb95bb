/**
 * The disks of a group made again what they were at a point, as changes like any others (docs/protection.md, section 7).
 *
 *     keep clients off, and note the way back ──▶ what was written since the point ──▶ of that what the point held, written through the disk
 *     server ──▶ flush, a point of it, clients again
 *
 * Invariants: nobody but this has the disks until they are those of the point, whatever ends in between, the server too; every change is a
 * record, so what the disks held before is a point like any other. Interrupted, it is finished by asking for it again, or undone by recovering
 * to the point before it in the same way: both write over all that was written since, by whichever try.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { HoldfastError, isHoldfastError } from '../../domain/errors.ts';
import type { Bases } from '../../engine/journal/keeping/bases.ts';
import { pinPoint, unpin } from '../../engine/journal/keeping/pins.ts';
import { inOrder } from '../../engine/journal/reading/in-order.ts';
import type { Reading } from '../../engine/journal/reading/reading.ts';
import { changedSince, type Changed, type Place } from '../../engine/journal/recovery/changed.ts';
import { clip, type Clipped } from '../../engine/journal/recovery/clip.ts';
import { beyondLosses } from '../../engine/journal/recovery/loss.ts';
import type { Point } from '../../engine/journal/recovery/plan.ts';
import { replay, type VolumeExtent } from '../../engine/journal/recovery/replay.ts';
import type { Disks } from '../../engine/volumes/disks/disk-client.ts';
import type { BegunRecovery } from '../../engine/volumes/disks/disk-control.ts';
import type { JournalPlace } from '../../engine/volumes/disks/protection-port.ts';
import { connectNbd, type NbdClient } from '../../engine/volumes/nbd/client.ts';
import { parseNbdUri } from '../../engine/volumes/nbd/uri.ts';
import { openPoint, type OpenedPoint } from './usable-plan.ts';

export interface InPlaceOptions {
  readonly reading: Reading;
  /** By region. */
  readonly bases: ReadonlyMap<string, Bases>;
  readonly point: Point;
  readonly disks: Pick<Disks, 'protection' | 'beginRecovery' | 'endRecovery'>;
  /** Cuts off clients that are connected. */
  readonly force: boolean;
  /** Names the pin: another one for each recovery. */
  readonly pin: string;
  readonly pinMs: number;
  /** Told before anything is changed. What it throws ends the recovery; clients stay off. */
  readonly onBegun: (before: BegunRecovery['before']) => Promise<void>;
  readonly onProgress?: (progress: InPlaceProgress) => void;
  readonly signal?: AbortSignal;
}

export interface InPlaceProgress {
  readonly comparedBytes: number;
  /** Of these, what differed and was written. */
  readonly writtenBytes: number;
  readonly ofBytes: number;
}

export interface RecoveredInPlace {
  readonly point: Point;
  /** What the disks held before, and hold now. */
  readonly before: BegunRecovery['before'];
  readonly after: JournalPlace;
  readonly comparedBytes: number;
  readonly writtenBytes: number;
}

/** Compared and written in such steps, so many at once. */
const STEP_BYTES = 64 * 1024;
const STEPS_AHEAD = 16;
const LOOK_MS = 200;
/** What is closed is acknowledged in a batch soon. */
const ACKNOWLEDGED_WITHIN_MS = 60_000;

/**
 * POINT_GONE and the like of a plan, before anything is begun. DISK_IN_USE: clients are connected. NOT_PROTECTED: no records are made now.
 * When it fails later the disks stay away from clients until it is asked for again.
 */
export async function recoverInPlace(options: InPlaceOptions): Promise<RecoveredInPlace> {
  const { reading, point, pin, pinMs } = options;
  const { journal } = reading;
  await pinPoint(journal, { pin, point, untilMs: journal.environment.nowMs() + pinMs, why: 'recovered to in place' });
  try {
    return await recoverPinned(options);
  } finally {
    await unpin(journal, pin);
  }
}

async function recoverPinned(options: InPlaceOptions): Promise<RecoveredInPlace> {
  const { reading, point, disks, force, onBegun } = options;
  const { name } = reading.journal;
  const planned = await openPoint(options, null);
  await refuseBehindGap(options);
  const begun = await disks.beginRecovery(name, { epoch: point.epoch, seq: point.seq }, force);
  const progress: Progress = { comparedBytes: 0, writtenBytes: 0, isChanged: begun.before.seq !== begun.now.seq };
  try {
    await onBegun(begun.before);
    await using opened = new AsyncDisposableStack();
    const clients: NbdClient[] = [];
    for (const uri of begun.uris) clients.push(opened.use(await connect(uri)));
    const changed = await changedByNow(options, begun.now);
    // What a plan has written by the time that it finds a batch lost is what the next one says, too.
    await beyondLosses(async (beyond) => {
      const over = beyond === null ? planned : await openPoint(options, beyond);
      const clipped = clip(over.plan.stretches, placesOf(changed, clients));
      await writeBack(options, { ...over, clipped, clients }, progress);
    });
    for (const client of clients) await client.flush();
  } catch (error) {
    // They are what they were, by this try and any before it.
    if (!progress.isChanged) await disks.endRecovery(name).catch(() => undefined);
    throw error;
  }
  const after = await disks.endRecovery(name);
  const { comparedBytes, writtenBytes } = progress;
  return { point, before: begun.before, after, comparedBytes, writtenBytes };
}

interface Progress {
  /** Of the last plan. */
  comparedBytes: number;
  writtenBytes: number;
  /** Whether anything may have been written. */
  isChanged: boolean;
}

/** What differs would not be known, nor would the way back be a point. */
async function refuseBehindGap({ reading, disks }: InPlaceOptions): Promise<void> {
  const { name: journal } = reading.journal;
  const gap = (await disks.protection()).find(({ group }) => group.journal === journal)?.gap ?? null;
  if (gap === null) return;
  throw new HoldfastError(
    'NOT_PROTECTED',
    `order was lost at ${gap}, and no base is recorded since: \`holdfast protect base ${journal}\``,
    {
      ...{ journal, gap },
    },
  );
}

async function connect(uri: string): Promise<NbdClient> {
  const parsed = parseNbdUri(uri);
  if (parsed === null) throw new HoldfastError('INTERNAL', 'a disk without an address', { uri });
  return connectNbd({ at: parsed.at, export: parsed.export, tls: null }, { contexts: [] });
}

/** As soon as the regions have all of it. */
async function changedByNow({ reading, point, disks, signal }: InPlaceOptions, now: JournalPlace): Promise<Changed> {
  const { name, environment } = reading.journal;
  for (let closedMs: number | null = null; ;) {
    signal?.throwIfAborted();
    const status = (await disks.protection()).find(({ group }) => group.journal === name);
    if (status === undefined || status.state === 'FENCED' || status.state === 'FAILED')
      throw new HoldfastError('NOT_PROTECTED', `no records of ${name} are made any more`, {
        journal: name,
        state: status?.state ?? 'gone',
      });
    if (status.closed >= now.seq) closedMs ??= environment.nowMs();
    if (closedMs !== null)
      try {
        return await changedSince(reading, { after: point, through: now });
      } catch (error) {
        const isEarly = isHoldfastError(error, 'POINT_GONE') && error.details['seq'] === now.seq;
        if (!isEarly || environment.nowMs() - closedMs > ACKNOWLEDGED_WITHIN_MS) throw error;
      }
    await sleep(LOOK_MS, undefined, signal === undefined ? {} : { signal });
  }
}

/** Where order, or a batch, was lost since, all of it is compared. */
const placesOf = (changed: Changed, clients: readonly NbdClient[]): ReadonlyMap<number, Iterable<Place>> =>
  new Map(
    clients.map(({ sizeBytes }, volume) => [
      volume,
      changed.kind === 'places' ? changed.places(volume) : [{ offset: 0, length: sizeBytes }],
    ]),
  );

interface WriteBack extends OpenedPoint {
  readonly clipped: Clipped;
  readonly clients: readonly NbdClient[];
}

/** What the base has of the places, and what the journal has: no two of these overlap, so they come in any order. */
async function writeBack(
  { reading, signal, onProgress = () => undefined }: InPlaceOptions,
  { plan, images, clipped: { inside, bare }, clients }: WriteBack,
  progress: Progress,
): Promise<void> {
  const sum = (some: Iterable<number>): number => [...some].reduce((all, one) => all + one, 0);
  const ofBytes = sum(inside.lengths) + sum(bare.map(({ length }) => length));
  let comparedBytes = 0;
  const write = async ({ volume, offset, length, data }: VolumeExtent): Promise<void> => {
    signal?.throwIfAborted();
    const wanted = data ?? Buffer.alloc(length);
    const client = clients[volume];
    if (client === undefined) throw new HoldfastError('INTERNAL', `the group has no volume ${volume}`, { volume });
    const now = Buffer.allocUnsafe(length);
    await client.read(now, offset);
    if (!now.equals(wanted)) {
      progress.isChanged = true;
      await client.write(wanted, offset);
      progress.writtenBytes += length;
    }
    progress.comparedBytes = comparedBytes += length;
    onProgress({ ...progress, ofBytes });
  };
  const fromBase = async (step: VolumeExtent): Promise<void> => {
    const data = Buffer.alloc(step.length);
    const image = images.get(step.volume);
    const there = Math.max(0, Math.min(step.length, (image?.sizeBytes ?? 0) - step.offset));
    if (there > 0) await image?.read(data.subarray(0, there), step.offset);
    await write({ ...step, data });
  };
  for await (const _ of inOrder(stepsOf(bare.map((one) => ({ ...one, data: null }))), STEPS_AHEAD, fromBase));
  for await (const _ of inOrder(stepsOf(replay(reading, { ...plan, stretches: inside })), STEPS_AHEAD, write));
}

async function* stepsOf(some: Iterable<VolumeExtent> | AsyncIterable<VolumeExtent>): AsyncGenerator<VolumeExtent> {
  for await (const { volume, offset, length, data } of some)
    for (let at = 0; at < length; at += STEP_BYTES) {
      const bytes = Math.min(STEP_BYTES, length - at);
      yield { volume, offset: offset + at, length: bytes, data: data?.subarray(at, at + bytes) ?? null };
    }
}
