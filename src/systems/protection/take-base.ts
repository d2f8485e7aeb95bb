/**
 * A base of the live volumes of a group: the first baseline, and the end of a time of lost order (docs/protection.md, section 5).
 *
 * One freeze is one moment of all disks and has a number, so the base is exact. It is recorded in each region when the region's chain
 * has reached that number, and not before: whoever takes the journal over walks from there.
 * A region that fails or falls silent has none, and holds up nobody. One that could be given none (J10) is not read for.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import pLimit from 'p-limit';
import { HoldfastError, isHoldfastError, type ErrorCode } from '../../domain/errors.ts';
import { newSnapshotId, volumeName } from '../../domain/ids.ts';
import { BASE_SILENT_MS } from '../../domain/limits.ts';
import type { BaseImage, BaseNotes, Bases, BaseSnapshots } from '../../engine/journal/keeping/bases.ts';
import { recordFuzzyBase } from '../../engine/journal/keeping/fuzzy-base.ts';
import { isWhole } from '../../engine/journal/holdings.ts';
import { isSilence, type Reading } from '../../engine/journal/reading/reading.ts';
import { currentEpoch, type JournalState } from '../../engine/journal/state.ts';
import type { Disks } from '../../engine/volumes/disks/disk-client.ts';
import type { FrozenView } from '../../engine/volumes/disks/disk-control.ts';
import type { GroupRecord } from '../../engine/volumes/disks/group-record.ts';
import { connectNbd } from '../../engine/volumes/nbd/client.ts';
import { STATE } from '../../engine/volumes/nbd/protocol.ts';
import { parseNbdUri } from '../../engine/volumes/nbd/uri.ts';
import { ViewBeside } from '../../engine/volumes/view-beside.ts';
import { Silence } from './silence.ts';

export interface TakeBaseOptions {
  readonly group: Pick<GroupRecord, 'journal' | 'disks'>;
  readonly disks: Pick<Disks, 'freeze' | 'closeView'>;
  readonly reading: Reading;
  /** Of each region that gets one. */
  readonly bases: readonly Bases[];
  readonly onProgress?: (progress: BaseProgress) => void;
  readonly signal: AbortSignal;
  /** A region of which nothing is heard for so long is gone on without. */
  readonly silentMs?: number;
}

export interface BaseProgress {
  readonly region: string;
  readonly volume: number;
  readonly readBytes: number;
  readonly ofBytes: number;
}

export type BaseOutcome =
  | { readonly region: string; readonly kind: 'recorded'; readonly seq: number }
  /** Another one is to be taken: the region has a newer one, the epoch has ended below it, or the region failed or was silent. */
  | { readonly region: string; readonly kind: 'none'; readonly code: ErrorCode | null; readonly why: string };

type Written = { readonly region: string; readonly kind: 'written'; readonly snapshots: BaseSnapshots };

const ALLOCATION = 'base:allocation';
const WAIT_MS = 200;
/** Each reads all of the volumes. */
const REGIONS_AT_ONCE = 2;

/** An outcome for each region, in their order. NOT_PROTECTED: no records are made now. */
export async function takeBase(options: TakeBaseOptions): Promise<readonly BaseOutcome[]> {
  const { group, disks, reading, bases } = options;
  const { environment } = reading.journal;
  const state = await newestView(reading);
  const refused = new Map(bases.map(({ region }) => [region, whyNone(state, region)]));
  if (bases.every(({ region }) => refused.get(region) !== null)) return bases.map(({ region }) => none(region, refused.get(region)));
  const random = (): number => environment.random(4).readUInt32BE(0) / 2 ** 32;
  const wanted = group.disks.map((disk) => ({
    disk,
    volume: volumeName(group.journal),
    snapshot: newSnapshotId(environment.nowMs(), random),
  }));
  const takenMs = environment.nowMs();
  const views = await disks.freeze(wanted);
  const place = views[0]?.place ?? null;
  const limit = pLimit(REGIONS_AT_ONCE);
  let written: readonly (Written | BaseOutcome)[];
  try {
    if (place === null) throw new HoldfastError('NOT_PROTECTED', `no records of ${group.journal} are made now`, { journal: group.journal });
    const notes = { epoch: place.epoch, from: place.seq, takenMs, consistency: 'crash' as const };
    written = await Promise.all(
      bases.map(async (one) => {
        const why = refused.get(one.region);
        if (typeof why === 'string') return none(one.region, why);
        return limit(() => outcomeOf(options, one.region, (heard) => write(one, views, notes, heard)));
      }),
    );
  } finally {
    // What a view has kept holds up its disk's writers in the end.
    for (const { disk, snapshot } of views) await disks.closeView(disk, snapshot);
  }
  const { seq } = place;
  return await Promise.all(
    written.map((one) =>
      one.kind === 'written' ? outcomeOf(options, one.region, (heard) => record(reading, one, seq, heard)) : Promise.resolve(one),
    ),
  );
}

const none = (region: string, why: string | null | undefined): BaseOutcome => ({ region, kind: 'none', code: null, why: why ?? 'unknown' });

/** While the log is away as it was known: where a base cannot be recorded is found again when it is. */
async function newestView({ journal: { log } }: Reading): Promise<JournalState> {
  try {
    return await log.sync();
  } catch (error) {
    if (!isSilence(error)) throw error;
    return log.known();
  }
}

/** Why a base of a region could not be recorded (J10); null: it could. */
function whyNone(state: JournalState, region: string): string | null {
  const current = currentEpoch(state);
  if (current?.members.every((member) => member.region !== region) === true) return `${region} is no member of epoch ${current.epoch}`;
  return isWhole(state, region) ? null : `${region} lacks something of closed epochs, with which it is filled first`;
}

interface Heard {
  readonly signal: AbortSignal;
  progress(read?: BaseProgress): void;
}

/** What becomes of one region's part: others go on when it fails, or falls silent. */
async function outcomeOf<T>(
  { signal, silentMs = BASE_SILENT_MS, onProgress = () => undefined }: TakeBaseOptions,
  region: string,
  work: (heard: Heard) => Promise<T>,
): Promise<T | BaseOutcome> {
  using silence = new Silence(`${region} is waited for`, silentMs, signal);
  const progress = (read?: BaseProgress): void => {
    silence.heard();
    if (read !== undefined) onProgress(read);
  };
  try {
    return await silence.bound(work({ signal: silence.signal, progress }));
  } catch (error) {
    if (!isHoldfastError(error) || signal.aborted) throw error;
    return { region, kind: 'none', code: error.code, why: error.message };
  }
}

async function write(one: Bases, views: readonly FrozenView[], notes: BaseNotes, { signal, progress }: Heard): Promise<Written> {
  const { region } = one;
  const snapshots: BaseSnapshots[number][] = [];
  for (const [volume, view] of views.entries()) {
    await using image = await openView(view);
    let readBytes = 0;
    const read = async (into: Buffer, offset: number): Promise<void> => {
      await image.read(into, offset);
      progress({ region, volume, readBytes: (readBytes += into.length), ofBytes: image.sizeBytes });
    };
    snapshots.push(await one.copy(volume, { sizeBytes: image.sizeBytes, data: () => image.data(), read }, notes, signal));
    progress();
  }
  return { region, kind: 'written', snapshots };
}

/** As soon as the region's chain has reached the base: who is on the way there is waited for. */
async function record(reading: Reading, { region, snapshots }: Written, seq: number, { signal, progress }: Heard): Promise<BaseOutcome> {
  let reached = -1;
  for (; ; await sleep(WAIT_MS, undefined, { signal })) {
    const outcome = await recordOnce(reading, { region, snapshots, seq }).catch((error: unknown) => {
      // What is written stays as long as it may be recorded yet.
      if (isHoldfastError(error) && error.retryable && !signal.aborted) return { reached };
      throw error;
    });
    if ('kind' in outcome) return outcome;
    if (outcome.reached > reached) progress();
    reached = Math.max(reached, outcome.reached);
  }
}

interface Recording {
  readonly region: string;
  readonly snapshots: BaseSnapshots;
  readonly seq: number;
}

async function recordOnce(reading: Reading, { region, snapshots, seq }: Recording): Promise<BaseOutcome | { readonly reached: number }> {
  const { epochs } = await reading.journal.log.sync();
  // The epoch that it was frozen in may have ended before its number.
  const epoch = [...epochs.values()].findLast(({ start }) => start <= seq);
  const outcome = await recordFuzzyBase(reading, { region, snapshots, epoch: epoch?.epoch ?? 0, from: seq, to: seq });
  if (outcome.kind === 'recorded') return { region, kind: 'recorded', seq };
  if (outcome.kind !== 'waits') return { region, kind: 'none', code: null, why: outcome.why };
  // A spare has no chain that could reach it.
  if (epoch?.end === null && epoch.members.every((member) => member.region !== region))
    return { region, kind: 'none', code: null, why: `${region} is no member of epoch ${epoch.epoch}` };
  return { reached: outcome.reachedSeq };
}

/** A frozen view, from the files beside its server where they can be opened. */
async function openView(view: FrozenView): Promise<BaseImage & AsyncDisposable> {
  const uri = parseNbdUri(view.uri);
  if (uri === null) throw new HoldfastError('INTERNAL', 'a view without an address', { uri: view.uri });
  await using opening = new AsyncDisposableStack();
  const client = opening.use(await connectNbd({ at: uri.at, export: uri.export, tls: null }, { contexts: [ALLOCATION] }));
  const beside = view.files === null ? null : await ViewBeside.open(uri, view.files);
  if (beside !== null) opening.use(beside);
  const reader = beside ?? client;
  const closing = opening.move();
  return {
    sizeBytes: client.sizeBytes,
    read: (into, offset) => reader.read(into, offset),
    async *data() {
      for (let at = 0; at < client.sizeBytes;)
        for (const { length, flags } of await client.status(ALLOCATION, at, client.sizeBytes - at)) {
          if ((flags & STATE.ZERO) === 0) yield { offset: at, length };
          at += length;
        }
    },
    [Symbol.asyncDispose]: () => closing.disposeAsync(),
  };
}
