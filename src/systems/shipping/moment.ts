/**
 * The moment that a capture reads: frozen where the source can be, and let go when the capture has ended.
 *
 *     served       a frozen view in the disk server of the host; writes go on           crash, with hooks application
 *     snapshot     a copy that a hook of the host makes: LVM, ZFS, an array              crash, with hooks application
 *     reflink      a copy that shares the file's blocks, where the file system can      crash, with hooks application
 *     as it is     the file, device or export itself; found out to have changed         crash, else fuzzy
 *
 * Freezing again for the same snapshot gives the same moment while it is there, so that an activity that is tried again, and
 * stores that join late, read what the first read. A moment that was lost comes back under another identity.
 */
import { constants } from 'node:fs';
import { copyFile, readdir, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { HoldfastError } from '../../domain/errors.ts';
import { SNAPSHOT_ID_PATTERN } from '../../domain/ids.ts';
import type { Host } from '../../engine/volumes/host.ts';
import { findHooks, findSnapshotHooks, whileAtRest } from '../../engine/volumes/hooks.ts';
import { parseNbdUri } from '../../engine/volumes/nbd/uri.ts';
import type { ViewFiles } from '../../engine/volumes/view-beside.ts';
import type { CapturePlan } from './plan.ts';

export interface Moment {
  readonly kind: 'served' | 'snapshot' | 'reflink' | 'as it is';
  /** What is read: a path, or the URI of an NBD export. */
  readonly source: string;
  /** Of a view: its files, which are read beside its server where they can be. */
  readonly files: ViewFiles | null;
  /** What a reader may say of it when it has not changed meanwhile. */
  readonly consistency: 'application' | 'crash';
  readonly identity: string;
}

type Frozen = Pick<CapturePlan, 'volume' | 'path' | 'snapshot'>;

export async function freezeMoment(host: Host, plan: Frozen): Promise<Moment> {
  const disk = await host.disks.servedFrom(plan.path);
  if (disk !== null) return freezeView(host, plan, disk.name);
  const asItIs: Moment = { kind: 'as it is', source: plan.path, files: null, consistency: 'crash', identity: '' };
  return (await snapshotByHook(host, plan)) ?? (await reflinked(host, plan)) ?? asItIs;
}

export async function releaseMoment(host: Host, { volume, path, snapshot }: Frozen, moment: Moment): Promise<void> {
  if (moment.kind === 'reflink') await rm(moment.source, { force: true });
  else if (moment.kind === 'snapshot') await (await findSnapshotHooks(host.hooksFolder, volume))?.release(snapshot, path);
  else if (moment.kind === 'served') {
    const disk = await host.disks.servedFrom(path);
    // Its server went, and the view with it.
    if (disk !== null) await host.disks.closeView(disk.name, snapshot);
  }
}

async function freezeView(host: Host, { volume, snapshot }: Frozen, disk: string): Promise<Moment> {
  const [view] = await host.disks.freeze([{ disk, volume, snapshot }]);
  if (view === undefined) throw new HoldfastError('INTERNAL', 'a freeze was answered without a view', { disk });
  return { kind: 'served', source: view.uri, files: view.files, consistency: view.consistency, identity: view.moment };
}

async function snapshotByHook(host: Host, { volume, path, snapshot }: Frozen): Promise<Moment | null> {
  const program = await findSnapshotHooks(host.hooksFolder, volume);
  if (program === null) return null;
  const hooks = await findHooks(host.hooksFolder, volume);
  const source = await whileAtRest(hooks === null ? [] : [hooks], () => program.take(snapshot, path));
  const identity = await identityOf(source);
  if (identity === null)
    throw new HoldfastError('HOOK_FAILED', `hooks of ${volume}: snapshot printed ${source}, which is not there`, { volume });
  return { kind: 'snapshot', source, files: null, consistency: hooks === null ? 'crash' : 'application', identity };
}

/** The copy lies beside the file, for only there it can share its blocks; it is named after what it is for. */
const SUFFIX = '.holdfast-';
const copyOf = ({ path, snapshot }: Frozen): string => `${path}${SUFFIX}${snapshot}`;
/** What a capture left behind that never ended is removed by a later one. */
const LEFT_BEHIND_MS = 24 * 3600 * 1000;

/** Null: not a file, or its file system shares no blocks (or has no room to say so). */
async function reflinked(host: Host, plan: Frozen): Promise<Moment | null> {
  const { path, volume } = plan;
  if (parseNbdUri(path) !== null || (await stat(path).catch(() => null))?.isFile() !== true) return null;
  const source = copyOf(plan);
  const hooks = await findHooks(host.hooksFolder, volume);
  const consistency = hooks === null ? 'crash' : 'application';
  const there = await identityOf(source);
  if (there !== null) return { kind: 'reflink', source, files: null, consistency, identity: there };
  if (!(await shareBlocks(path, source))) return null;
  // Only where copies can be made there are any.
  await removeLeftBehind(path, host.nowMs());
  if (hooks !== null) {
    // The first one has shown that it works: nobody is brought to rest for nothing.
    await rm(source, { force: true });
    if (!(await whileAtRest([hooks], () => shareBlocks(path, source)))) return null;
  }
  const identity = await identityOf(source);
  return identity === null ? null : { kind: 'reflink', source, files: null, consistency, identity };
}

/** The kernel shares all blocks under the locks of the file: no write lies half in the copy. */
const shareBlocks = (path: string, copy: string): Promise<boolean> =>
  copyFile(path, copy, constants.COPYFILE_FICLONE_FORCE | constants.COPYFILE_EXCL).then(
    () => true,
    () => false,
  );

async function removeLeftBehind(path: string, nowMs: number): Promise<void> {
  const folder = dirname(path);
  for (const name of await readdir(folder).catch(() => [])) {
    const snapshot = name.startsWith(`${basename(path)}${SUFFIX}`) ? name.slice(basename(path).length + SUFFIX.length) : '';
    if (!SNAPSHOT_ID_PATTERN.test(snapshot)) continue;
    const copy = join(folder, name);
    const made = await stat(copy).catch(() => null);
    if (made !== null && nowMs - made.birthtimeMs > LEFT_BEHIND_MS) await rm(copy, { force: true });
  }
}

async function identityOf(file: string): Promise<string | null> {
  const found = await stat(file, { bigint: true }).catch(() => null);
  return found && `${found.ino}:${found.rdev}:${found.birthtimeNs}`;
}
