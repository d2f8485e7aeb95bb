/**
 * The files of a host that is to have the disks again, brought from what they hold to a newer point: only what was written in between is fetched,
 * as it is at that point, and what the host itself wrote that nobody else knows of.
 *
 * Invariant: the note says as of what the files are, but for places that were written since the note that follows from it: a try that was
 * killed is made again, to the same point or a later one, and fetches these, too. So the point may rise, and never falls.
 */
import { PIN_MS_DEFAULT } from '../../../domain/limits.ts';
import { pinPoint, unpin } from '../../../engine/journal/keeping/pins.ts';
import { pointAt } from '../../../engine/journal/reading/point-at.ts';
import { changedSince, type Place } from '../../../engine/journal/recovery/changed.ts';
import { planRecovery, type Point } from '../../../engine/journal/recovery/plan.ts';
import { HoldfastError, isHoldfastError } from '../../../domain/errors.ts';
import { openRestoreTarget } from '../../../engine/transfer/restore-target.ts';
import type { Host } from '../../../engine/volumes/host.ts';
import type { Threads } from '../../../ground/threads/threads.ts';
import type { OpenedProtection } from '../home-journal.ts';
import { recoverTo } from '../recover.ts';
import { failbackPin } from './begin-failback.ts';
import { noteOf, type Fenced } from './fence.ts';
import { fetchPlaces } from './fetch-places.ts';
import { writeFailover, type FailoverNote } from './note.ts';
import { stampsOf } from './recover-disks.ts';

export interface CatchingUp {
  readonly threads: Threads;
  readonly signal: AbortSignal;
  readonly onFetched: (bytes: number) => void;
}

export interface CaughtUp {
  readonly seq: number;
  readonly labelUs: number;
  /** Of the disks, as they were written here. */
  readonly fetchedBytes: number;
}

export interface CaughtUpLast extends CaughtUp {
  /** Of all rounds. */
  readonly totalBytes: number;
}

/** All of the disks at the newest point, into new files: the first round where no old ones can be gone on with. */
export async function fetchWhole(host: Host, opened: OpenedProtection, call: CatchingUp): Promise<CaughtUp> {
  const { reading } = opened;
  const note = await noteOf(host, reading.journal.name);
  const newest = await newestOf(opened, note);
  const { epoch, seq, labelUs } = newest;
  await pinned(opened, note, newest);
  for (const { path, sizeBytes } of note.disks)
    await (await openRestoreTarget(path, { sizeBytes, existing: 'replace' }))[Symbol.asyncDispose]();
  const targets = new Map(note.disks.map(({ path, sizeBytes }, volume) => [volume, { path, sizeBytes }]));
  const recovering = { ...opened, threads: call.threads, signal: call.signal, point: { epoch, seq }, targets, pinMs: PIN_MS_DEFAULT };
  const { baseBytes, replayBytes } = await recoverTo({
    ...recovering,
    pin: `${failbackPin(note.group, seq)}.whole`,
    onProgress: ({ writtenBytes }) => call.onFetched(writtenBytes),
  });
  const fetchedBytes = baseBytes + replayBytes;
  const total = (note.image?.fetchedBytes ?? 0) + fetchedBytes;
  const image = { full: note.image?.full ?? null, asOf: { epoch, seq }, fetchedBytes: total, surplus: [] };
  await writeFailover(host, { ...note, image });
  return { seq, labelUs, fetchedBytes };
}

/** To the newest point. POINT_GONE: what came since is not known, and all of it is to be fetched. */
export async function catchUp(host: Host, opened: OpenedProtection, call: CatchingUp): Promise<CaughtUp> {
  const note = await noteOf(host, opened.reading.journal.name);
  const newest = await newestOf(opened, note);
  const fetchedBytes = await bringTo(host, opened, note, newest, call);
  return { seq: newest.seq, labelUs: newest.labelUs, fetchedBytes };
}

/** To the end of the epoch that was closed: nothing comes after it. */
export async function catchUpLast(host: Host, opened: OpenedProtection, fenced: Fenced, call: CatchingUp): Promise<CaughtUpLast> {
  const { name } = opened.reading.journal;
  const before = await noteOf(host, name);
  if (before.recovered !== null) {
    const { seq, labelUs, replayBytes } = before.recovered;
    return { seq, labelUs, fetchedBytes: replayBytes, totalBytes: before.image?.fetchedBytes ?? 0 };
  }
  const end = { epoch: fenced.closedEpoch, seq: fenced.end };
  const fetchedBytes = await bringTo(host, opened, before, end, call);
  const note = await noteOf(host, name);
  const { labelUs } = await planRecovery(opened.reading, { point: end });
  const recovered = { ...end, labelUs, region: '', baseBytes: 0, replayBytes: fetchedBytes, stamps: await stampsOf(note.disks) };
  await writeFailover(host, { ...note, recovered });
  return { seq: end.seq, labelUs, fetchedBytes, totalBytes: note.image?.fetchedBytes ?? 0 };
}

async function newestOf({ reading }: OpenedProtection, { image, group }: FailoverNote): Promise<Point & { readonly labelUs: number }> {
  const newest = await pointAt(reading, Number.MAX_SAFE_INTEGER);
  if (newest !== null && newest.point.seq >= (image?.asOf?.seq ?? 0)) return newest.point;
  if (image?.asOf) return { ...image.asOf, labelUs: 0 };
  throw new HoldfastError('POINT_GONE', `no point of ${group.journal} can be recovered`, { journal: group.journal });
}

async function bringTo(host: Host, opened: OpenedProtection, note: FailoverNote, to: Point, call: CatchingUp): Promise<number> {
  const { journal } = opened.reading;
  const asOf = note.image?.asOf ?? null;
  if (note.image === null || asOf === null)
    throw new HoldfastError('INTERNAL', 'files that hold nothing yet cannot catch up', { journal: journal.name });
  const reading = { ...opened.reading, signal: call.signal };
  const changed = await changedSince(reading, { after: asOf, through: to }).catch(async (error: unknown) => {
    if (isHoldfastError(error, 'POINT_GONE')) await giveUp(host, note, error.message);
    throw error;
  });
  if (changed.kind === 'unknown') {
    const why = `what was written since ${asOf.seq} is not known from ${changed.gap} on`;
    await giveUp(host, note, why);
    throw new HoldfastError('POINT_GONE', `${why}: started again, all of the disks is fetched`, { journal: journal.name });
  }
  const { surplus } = note.image;
  const fetched = await fetchPlaces(opened, {
    ...call,
    point: to,
    paths: note.disks.map(({ path }) => path),
    places: note.disks.map((_, volume) => joined([...surplus.filter((stretch) => stretch.volume === volume), ...changed.places(volume)])),
  });
  await pinned(opened, note, to);
  const fetchedBytes = note.image.fetchedBytes + fetched;
  await writeFailover(host, { ...note, image: { ...note.image, asOf: { epoch: to.epoch, seq: to.seq }, fetchedBytes, surplus: [] } });
  if (asOf.seq !== to.seq) await unpin(journal, failbackPin(note.group, asOf.seq));
  return fetched;
}

/** The next try fetches all of the disks. */
const giveUp = (host: Host, note: FailoverNote, full: string): Promise<void> =>
  writeFailover(host, { ...note, image: { full, asOf: null, fetchedBytes: note.image?.fetchedBytes ?? 0, surplus: [] } });

const pinned = ({ reading: { journal } }: OpenedProtection, { group }: FailoverNote, { epoch, seq }: Point): Promise<void> =>
  pinPoint(journal, {
    pin: failbackPin(group, seq),
    point: { epoch, seq },
    untilMs: journal.environment.nowMs() + PIN_MS_DEFAULT,
    why: 'failing back',
  });

function joined(places: readonly Place[]): readonly Place[] {
  const out: Place[] = [];
  for (const { offset, length } of [...places].sort((a, b) => a.offset - b.offset)) {
    const last = out.at(-1);
    if (last !== undefined && offset <= last.offset + last.length)
      out[out.length - 1] = { offset: last.offset, length: Math.max(last.offset + last.length, offset + length) - last.offset };
    else out.push({ offset, length });
  }
  return out;
}
