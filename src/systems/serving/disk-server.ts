/**
 * The disk server of a host: every disk that the host serves, over NBD, in one process (docs/serving.md).
 *
 * One process, because disks that belong together are frozen in one turn of its event loop: that is what makes their views
 * one moment. It needs no store and no Temporal; a disk that is still being restored needs its store for what it lacks.
 * What it serves is in records on this host, so that it comes back as it was. One server a folder: a lock says so.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import { HoldfastError } from '../../domain/errors.ts';
import type { SnapshotId, VolumeName } from '../../domain/ids.ts';
import { DISK_VIEW_BYTES_MAX } from '../../domain/limits.ts';
import { openRestoreTarget } from '../../engine/transfer/restore-target.ts';
import { serveDiskControl } from '../../engine/volumes/disks/disk-control-server.ts';
import type {
  BegunRecovery,
  DiskOperations,
  DiskStatus,
  FrozenView,
  HydrationStatus,
  WantedView,
} from '../../engine/volumes/disks/disk-control.ts';
import { GroupFolder, type GroupRecord, type GroupWanted } from '../../engine/volumes/disks/group-record.ts';
import { readRecovery, removeRecovery, writeRecovery, type RecoveryNote } from '../../engine/volumes/disks/recovery-note.ts';
import type { DiskProtection, JournalPlace, PointTaken, ProtectionStatus } from '../../engine/volumes/disks/protection-port.ts';
import {
  isPointOrigin,
  isSameFile,
  originName,
  type DiskFolder,
  type DiskRecord,
  type HydrationRecord,
} from '../../engine/volumes/disks/disk-record.ts';
import { findHooks, whileAtRest } from '../../engine/volumes/hooks.ts';
import { threadCourtesy } from '../../engine/volumes/courtesy.ts';
import { checkExposure, type TcpAddress } from '../../engine/volumes/listening.ts';
import type { Certificates } from '../../engine/volumes/nbd/certificates.ts';
import type { Export } from '../../engine/volumes/nbd/export.ts';
import { serveNbd, type NbdServer, type NbdServerEvent } from '../../engine/volumes/nbd/server.ts';
import { nbdUri } from '../../engine/volumes/nbd/uri.ts';
import { ServedVolume, type Freeze, type VolumeEvent } from '../../engine/volumes/served-volume.ts';
import { tryProcessLock } from '../../ground/processes/process-lock.ts';
import { fill, liftPin, type FilledDisk, type FillingEvent, type OriginOf } from './disk-filling.ts';

export type DiskEvent =
  | { readonly kind: 'nbd'; readonly event: NbdServerEvent }
  | { readonly kind: 'volume'; readonly disk: string; readonly event: VolumeEvent }
  | { readonly kind: 'unserved'; readonly disk: string; readonly error: unknown }
  | FillingEvent
  | { readonly kind: 'mistake'; readonly error: unknown };

export interface DiskServerOptions {
  readonly folder: DiskFolder;
  readonly hooksFolder: string;
  /** Beside the Unix socket in the folder. */
  readonly listen: TcpAddress | null;
  readonly certificates: Certificates | null;
  readonly originOf: OriginOf;
  readonly onEvent: (event: DiskEvent) => void;
  readonly viewBytesMax?: number;
  /** Who keeps the journals of disks; null: nobody, and no disk is in a group. */
  readonly protection?: DiskProtection | null;
}

interface Asked {
  readonly disk: Disk;
  readonly volume: VolumeName;
  readonly snapshot: SnapshotId;
}

interface Disk extends FilledDisk {
  readonly volume: ServedVolume;
  readonly views: Map<SnapshotId, { readonly freeze: Freeze; readonly answer: FrozenView }>;
  hydrating: { readonly ended: Promise<void>; readonly stop: AbortController };
  /** The group that it is in. */
  group: GroupRecord | null;
  /** Its group is open, or it is in none: clients may have it. */
  isReady: boolean;
}

/** A group that is recovered in place. */
interface Recovery {
  readonly note: RecoveryNote;
  /** In the name under which who recovers has the disks; null: nobody does. */
  readonly token: string | null;
}

export class DiskServer implements DiskOperations, AsyncDisposable {
  readonly #options: DiskServerOptions;
  readonly #disks = new Map<string, Disk>();
  readonly #courtesy = threadCourtesy();
  readonly #connections = new Map<string, number>();
  /** By journal. */
  readonly #recoveries = new Map<string, Recovery>();
  readonly #servers: { readonly server: NbdServer; readonly secure: boolean }[] = [];
  readonly #stack = new AsyncDisposableStack();
  /** Attaching and detaching, one after another. */
  #changes: Promise<unknown> = Promise.resolve();
  #stopping = false;

  private constructor(options: DiskServerOptions) {
    this.#options = options;
  }

  /** Serves what the folder says; a disk that cannot be opened is told of and tried no more until it is attached again. */
  static async start(options: DiskServerOptions): Promise<DiskServer> {
    const { folder, listen, certificates } = options;
    if (listen !== null) checkExposure(listen, certificates, 'listen');
    const server = new DiskServer(options);
    try {
      await folder.create();
      const records = await folder.list();
      server.#stack.use(await onlyOne(folder));
      const groups = (await options.protection?.groups()) ?? [];
      for (const { journal } of groups) {
        const note = await readRecovery(server.#stateOf(journal));
        if (note !== null) server.#recoveries.set(journal, { note, token: null });
      }
      for (const record of records) {
        const group = groups.find(({ disks }) => disks.includes(record.name)) ?? null;
        await server.#open(record, group).catch((error: unknown) => options.onEvent({ kind: 'unserved', disk: record.name, error }));
      }
      for (const group of groups) server.#resume(group);
      await server.#listen({ path: folder.nbdSocket }, null);
      if (listen !== null) await server.#listen(listen, certificates);
      const control = await serveDiskControl(folder.controlSocket, server, (error) => options.onEvent({ kind: 'mistake', error }));
      server.#stack.use(control);
      return server;
    } catch (error) {
      await server[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Where clients find it. */
  get addresses(): readonly string[] {
    return this.#servers.map(({ server, secure }) => nbdUri(server.address, secure));
  }

  get disks(): readonly string[] {
    return [...this.#disks.keys()];
  }

  async list(): Promise<readonly DiskStatus[]> {
    return [...this.#disks.values()].map((disk) => this.#statusOf(disk));
  }

  attach(record: DiskRecord): Promise<DiskStatus> {
    return this.#exclusively(async () => {
      const there = this.#disks.get(record.name);
      if (there !== undefined && isSame(there.record, record)) return this.#statusOf(there);
      const same = there ?? (await this.#servedFrom(record.path));
      if (same !== undefined)
        throw new HoldfastError('DISK_EXISTS', `${same.record.name} is served from ${same.record.path}`, {
          disk: same.record.name,
          path: same.record.path,
        });
      await createTarget(record);
      await this.#options.folder.write(record);
      try {
        return this.#statusOf(await this.#open(record));
      } catch (error) {
        await this.#options.folder.remove(record.name);
        throw error;
      }
    });
  }

  detach(name: string, force: boolean): Promise<void> {
    return this.#exclusively(async () => {
      const disk = this.#disks.get(name);
      if (disk?.group)
        throw new HoldfastError('DISK_IN_USE', `${name} is protected by ${disk.group.journal}: unprotect it first`, {
          ...{ disk: name, journal: disk.group.journal },
        });
      const record = disk?.record ?? (await this.#options.folder.read(name));
      if (record === null) throw new HoldfastError('DISK_NOT_FOUND', `no disk ${name} is served here`, { disk: name });
      const clients = this.#clientsOf(name);
      if (!force && clients > 0)
        throw new HoldfastError('DISK_IN_USE', `${clients} clients are connected to ${name}`, { disk: name, clients });
      if (!force && record.hydration !== null)
        throw new HoldfastError('DISK_IN_USE', `${name} does not hold all of ${originName(record.hydration)} yet`, {
          disk: name,
          origin: originName(record.hydration),
        });
      if (disk !== undefined) await this.#close(disk);
      const from = record.hydration ?? record.releasing ?? null;
      if (from !== null) await liftPin(this.#options, record, from);
      await this.#options.folder.remove(name);
    });
  }

  freeze(wanted: readonly WantedView[]): Promise<readonly FrozenView[]> {
    return this.#exclusively(async () => {
      const asked = wanted.map(({ disk, volume, snapshot }) => ({ disk: this.#find(disk), volume, snapshot }));
      for (const { disk } of asked) this.#refuseRecovering(disk.group?.journal);
      if (new Set(asked.map(({ disk }) => disk)).size < asked.length)
        throw new HoldfastError('ARGUMENT_INVALID', 'a disk is named twice', { field: 'disk', expected: 'different disks' });
      const known = asked.flatMap(({ disk, snapshot }) => disk.views.get(snapshot)?.answer ?? []);
      if (known.length === asked.length && new Set(known.map(({ moment }) => moment)).size === 1) return known;
      return this.#freezeNow(asked);
    });
  }

  async closeView(name: string, snapshot: SnapshotId): Promise<void> {
    const disk = this.#disks.get(name);
    const view = disk?.views.get(snapshot);
    if (disk === undefined || view === undefined) return;
    disk.views.delete(snapshot);
    await view.freeze.close();
  }

  protect(wanted: GroupWanted): Promise<ProtectionStatus> {
    return this.#exclusively(async () => {
      const protection = this.#protection();
      const disks = wanted.disks.map((name) => this.#find(name));
      if (new Set(disks).size < disks.length)
        throw new HoldfastError('ARGUMENT_INVALID', 'a disk is named twice', { field: 'disks', expected: 'different disks' });
      for (const { record, group } of disks) {
        if (record.hydration !== null)
          throw new HoldfastError('DISK_IN_USE', `${record.name} does not hold all of ${originName(record.hydration)} yet`, {
            disk: record.name,
          });
        if (group !== null && group.journal !== wanted.journal)
          throw new HoldfastError('DISK_IN_USE', `${record.name} is protected by ${group.journal}`, { disk: record.name });
      }
      const status = await protection.protect(
        wanted,
        disks.map(({ volume }) => volume),
      );
      for (const disk of disks) disk.group = status.group;
      return status;
    });
  }

  unprotect(journal: string): Promise<void> {
    return this.#exclusively(async () => {
      await this.#protection().unprotect(journal);
      // Whoever wants disks that were recovered half-way has them so.
      this.#recoveries.delete(journal);
      for (const disk of this.#disks.values()) {
        if (disk.group?.journal !== journal) continue;
        disk.group = null;
        disk.isReady = true;
      }
    });
  }

  async protection(): Promise<readonly ProtectionStatus[]> {
    return this.#options.protection?.status() ?? [];
  }

  /** Its clients are cut off first: what they were answered is in the journal when this answers. */
  handOver(journal: string): Promise<number | null> {
    return this.#exclusively(async () => {
      this.#refuseRecovering(journal);
      const disks = this.#disksOf(journal);
      const wasReady = disks.map(({ isReady }) => isReady);
      for (const disk of disks) disk.isReady = false;
      await this.#cut(disks);
      try {
        const end = await this.#protection().handOver(journal);
        for (const disk of disks) await this.#close(disk);
        return end;
      } catch (error) {
        disks.forEach((disk, i) => (disk.isReady = wasReady[i] === true));
        throw error;
      }
    });
  }

  takeUp(journal: string): Promise<void> {
    return this.#exclusively(async () => {
      const protection = this.#protection();
      const state = protection.status().find(({ group }) => group.journal === journal)?.state;
      if (state !== undefined && state !== 'FENCED' && state !== 'FAILED') return;
      const group = (await protection.groups()).find((one) => one.journal === journal);
      if (group === undefined) throw new HoldfastError('NOT_PROTECTED', `no group of ${journal} is written down here`, { journal });
      if (state !== undefined) await protection.handOver(journal);
      for (const disk of this.#disksOf(journal)) await this.#close(disk);
      for (const name of group.disks) {
        const record = await this.#options.folder.read(name);
        if (record === null) throw new HoldfastError('DISK_NOT_FOUND', `no disk ${name} is written down here`, { disk: name });
        await this.#open(record, group);
      }
      this.#resume(group);
    });
  }

  beginRecovery(journal: string, point: Omit<JournalPlace, 'journal'>, force: boolean): Promise<BegunRecovery> {
    return this.#exclusively(async () => {
      const protection = this.#protection();
      const disks = this.#disksOf(journal);
      if (disks.length === 0 || disks.some(({ isReady }) => !isReady))
        throw new HoldfastError('NOT_PROTECTED', `no open group of ${journal} is served here`, { journal });
      const known = this.#recoveries.get(journal);
      const clients = disks.reduce((sum, { record }) => sum + this.#clientsOf(record.name), 0);
      if (!force && known === undefined && clients > 0)
        throw new HoldfastError('DISK_IN_USE', `${clients} clients are connected to disks of ${journal}`, { journal, clients });
      // While no records are made there would be no way back: refused before anybody is cut off.
      const first = await protection.point(journal);
      const begun = known?.note ?? { format: 1 as const, before: { epoch: first.epoch, seq: first.seq }, beforeMs: Date.now() };
      // Nobody comes from this turn on; those who are there go before the moment that is the way back.
      this.#recoveries.set(journal, { note: { ...begun, point }, token: null });
      try {
        await this.#cut(disks, known?.token);
        const now = await protection.point(journal);
        const before = known?.note.before ?? { epoch: now.epoch, seq: now.seq };
        const note = { ...begun, before, point };
        await writeRecovery(this.#stateOf(journal), note);
        const token = randomBytes(8).toString('hex');
        this.#recoveries.set(journal, { note, token });
        const uris = disks.map(({ record }) => nbdUri({ path: this.#options.folder.nbdSocket }, false, privateName(record.name, token)));
        return { before: { journal, ...before, timeMs: note.beforeMs }, now, uris };
      } catch (error) {
        if (known === undefined) this.#recoveries.delete(journal);
        else this.#recoveries.set(journal, { note: known.note, token: null });
        throw error;
      }
    });
  }

  endRecovery(journal: string): Promise<JournalPlace> {
    return this.#exclusively(async () => {
      const recovery = this.#recoveries.get(journal);
      const end = await this.#protection().point(journal);
      await removeRecovery(this.#stateOf(journal));
      this.#recoveries.delete(journal);
      await this.#cut(this.#disksOf(journal), recovery?.token);
      return end;
    });
  }

  async point(journal: string, volumes: readonly VolumeName[]): Promise<PointTaken> {
    const protection = this.#protection();
    this.#refuseRecovering(journal);
    const hooks = await Promise.all(volumes.map((volume) => findHooks(this.#options.hooksFolder, volume)));
    const place = await whileAtRest(
      hooks.filter((pair) => pair !== null),
      () => protection.point(journal),
    );
    const consistency = volumes.length === 0 || hooks.includes(null) ? 'crash' : 'application';
    return { ...place, timeMs: Date.now(), consistency };
  }

  /** A clean stop: clients are told, what is tracked is exact. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping = true;
    for (const { server } of this.#servers.splice(0)) await server.close();
    await this.#inTurn(async () => {
      await this.#options.protection?.close();
      for (const disk of this.#disks.values()) await this.#close(disk);
    });
    await this.#stack.disposeAsync();
  }

  /** What waited while the server was told to stop is not begun: nobody would end it. */
  #exclusively<T>(work: () => Promise<T>): Promise<T> {
    return this.#inTurn(async () => {
      if (this.#stopping) throw new HoldfastError('DISKS_NOT_SERVED', 'the disk server is stopping');
      return work();
    });
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const run = this.#changes.then(work);
    this.#changes = run.catch(() => undefined);
    return run;
  }

  /** Two disks of one file would not know of each other's writes. */
  async #servedFrom(path: string): Promise<Disk | undefined> {
    for (const disk of this.#disks.values()) if (await isSameFile(disk.record.path, path)) return disk;
    return undefined;
  }

  #find(name: string): Disk {
    const disk = this.#disks.get(name);
    if (disk === undefined) throw new HoldfastError('DISK_NOT_FOUND', `no disk ${name} is served here`, { disk: name });
    return disk;
  }

  #disksOf(journal: string): readonly Disk[] {
    return [...this.#disks.values()].filter(({ group }) => group?.journal === journal);
  }

  #stateOf(journal: string): string {
    return new GroupFolder(this.#options.folder.journals).stateOf(journal);
  }

  #refuseRecovering(journal: string | undefined): void {
    const recovery = journal === undefined ? undefined : this.#recoveries.get(journal);
    if (journal === undefined || recovery === undefined) return;
    const { seq } = recovery.note.point;
    throw new HoldfastError('DISK_IN_USE', `the disks of ${journal} are recovered to point ${seq} in place: that is to end first`, {
      journal,
    });
  }

  /** Off the disks, and off the views of them; `token`: and whoever recovers them. */
  async #cut(disks: readonly Disk[], token: string | null = null): Promise<void> {
    const exports = disks.flatMap(({ record: { name }, views }) => [
      name,
      ...[...views.keys()].map((snapshot) => `${name}@${snapshot}`),
      ...(token === null ? [] : [privateName(name, token)]),
    ]);
    for (const { server } of this.#servers) await Promise.all(exports.map((one) => server.cut(one)));
  }

  async #freezeNow(asked: readonly Asked[]): Promise<readonly FrozenView[]> {
    for (const { disk, snapshot } of asked) {
      await this.#closeIdleViews(disk);
      if (disk.views.has(snapshot))
        throw new HoldfastError('DISK_IN_USE', `${disk.record.name}@${snapshot} is read, and of another moment`, {
          disk: disk.record.name,
        });
    }
    const hooks = await Promise.all(asked.map(({ volume }) => findHooks(this.#options.hooksFolder, volume)));
    const consistency: FrozenView['consistency'] = hooks.includes(null) ? 'crash' : 'application';
    const journal = journalOf(asked.map(({ disk }) => disk));
    let place: JournalPlace | null = null;
    const freezes = await whileAtRest(
      hooks.filter((pair) => pair !== null),
      () =>
        ServedVolume.freezeTogether(
          asked.map(({ disk, snapshot }) => ({ volume: disk.volume, snapshot })),
          () => (place = journal === null ? null : (this.#options.protection?.moment(journal) ?? null)),
        ),
    );
    const moment = randomUUID();
    const answers: FrozenView[] = [];
    for (const [i, { disk, snapshot }] of asked.entries()) {
      const freeze = freezes[i];
      if (freeze === undefined) continue;
      const { name } = disk.record;
      const uri = nbdUri({ path: this.#options.folder.nbdSocket }, false, `${name}@${snapshot}`);
      const answer = { disk: name, snapshot, uri, files: await freeze.files(), moment, consistency, place };
      disk.views.set(snapshot, { freeze, answer });
      answers.push(answer);
    }
    return answers;
  }

  /** Of the disk, and of its views. */
  #clientsOf(disk: string): number {
    let clients = 0;
    for (const [name, count] of this.#connections) if (name === disk || name.startsWith(`${disk}@`)) clients += count;
    return clients;
  }

  async #listen(at: { readonly path: string } | TcpAddress, certificates: Certificates | null): Promise<void> {
    const server = await serveNbd(at, {
      exports: () => [...this.#disks.values()].flatMap((disk) => this.#exportsOf(disk)),
      ...(certificates === null ? {} : { tls: { policy: 'required', ...certificates } }),
      onEvent: (event) => {
        this.#count(event);
        this.#options.onEvent({ kind: 'nbd', event });
      },
    });
    this.#servers.push({ server, secure: certificates !== null });
  }

  #exportsOf({ volume, isReady, group, record }: Disk): readonly Export[] {
    const recovery = group === null ? undefined : this.#recoveries.get(group.journal);
    if (!isReady) return [];
    if (recovery === undefined) return volume.exports();
    return recovery.token === null ? [] : [{ ...volume.asExport(), name: privateName(record.name, recovery.token) }];
  }

  #count(event: NbdServerEvent): void {
    if (event.kind === 'failure' || event.export === null) return;
    const now = (this.#connections.get(event.export) ?? 0) + (event.kind === 'connected' ? 1 : -1);
    if (now > 0) this.#connections.set(event.export, now);
    else this.#connections.delete(event.export);
  }

  #protection(): DiskProtection {
    const { protection = null } = this.#options;
    if (protection === null) throw new HoldfastError('NOT_PROTECTED', 'this disk server keeps no journals');
    return protection;
  }

  /** Its disks may be had when it is open. One that cannot be opened keeps all of them from being served. */
  #resume(group: GroupRecord): void {
    const disks = group.disks.flatMap((name) => this.#disks.get(name) ?? []);
    const missing = group.disks.find((name) => !this.#disks.has(name));
    if (missing !== undefined) {
      const error = new HoldfastError('NOT_PROTECTED', `${missing}, of the same group, cannot be served`, {
        journal: group.journal,
        disk: missing,
      });
      for (const { record } of disks) this.#options.onEvent({ kind: 'unserved', disk: record.name, error });
      return;
    }
    this.#options.protection?.resume(
      group,
      disks.map(({ volume }) => volume),
      () => disks.forEach((disk) => (disk.isReady = true)),
    );
  }

  async #open(record: DiskRecord, group: GroupRecord | null = null): Promise<Disk> {
    const { name, path, sizeBytes, extentBytes, hydration } = record;
    const volume = await ServedVolume.open({
      ...{ name, path, sizeBytes, extentBytes },
      stateFolder: this.#options.folder.stateOf(name),
      preserveBytesMax: this.#options.viewBytesMax ?? DISK_VIEW_BYTES_MAX,
      courtesy: this.#courtesy,
      origin: hydration === null ? null : this.#options.originOf(hydration, record),
      onEvent: (event) => this.#options.onEvent({ kind: 'volume', disk: name, event }),
    });
    const stop = new AbortController();
    const hydrating = { stop, ended: Promise.resolve() };
    const disk: Disk = { record, volume, views: new Map(), trouble: null, hydrating, group, isReady: group === null };
    this.#disks.set(name, disk);
    disk.hydrating = { stop, ended: fill(this.#options, disk, stop.signal) };
    return disk;
  }

  async #close(disk: Disk): Promise<void> {
    // Out of the list first: nobody new finds it, and whoever has it is told before its files are closed.
    this.#disks.delete(disk.record.name);
    await this.#cut([disk]);
    disk.hydrating.stop.abort();
    await disk.hydrating.ended;
    for (const { freeze } of disk.views.values()) await freeze.close();
    await disk.volume.stop();
  }

  /** Captures of one volume come one after another: a view that nobody reads is one that a capture left behind. */
  async #closeIdleViews({ record, views }: Disk): Promise<void> {
    for (const [snapshot, { freeze }] of views) {
      if (this.#connections.has(`${record.name}@${snapshot}`)) continue;
      views.delete(snapshot);
      await freeze.close();
    }
  }

  #statusOf({ record, volume, trouble, group }: Disk): DiskStatus {
    const { views, writersHeld, heldMs, hydration } = volume.figures();
    const recovery = group === null ? undefined : this.#recoveries.get(group.journal);
    return {
      recovering: group === null || recovery === undefined ? null : { journal: group.journal, ...recovery.note.point },
      ...{ record, views, writersHeld, heldMs },
      uris: this.#servers.map(({ server, secure }) => nbdUri(server.address, secure, record.name)),
      connections: this.#connections.get(record.name) ?? 0,
      hydration: hydration && record.hydration && { ...hydration, ...originOf(record.hydration), trouble },
    };
  }
}

function originOf(of: HydrationRecord): Pick<HydrationStatus, 'snapshot' | 'store' | 'point'> {
  if (!isPointOrigin(of)) return { snapshot: of.snapshot, store: of.store, point: null };
  const { journal, epoch, seq } = of;
  return { snapshot: null, store: null, point: { journal, epoch, seq } };
}

/** A disk that is to be filled begins as an empty file; an earlier try may have made it, one with anything in it is somebody's. */
async function createTarget({ path, sizeBytes, hydration }: DiskRecord): Promise<void> {
  if (hydration === null) return;
  await (await openRestoreTarget(path, { sizeBytes, existing: 'blank' }))[Symbol.asyncDispose]();
}

/** Not to be guessed by who has the address of the disk. */
const privateName = (disk: string, token: string): string => `${disk}@recovery.${token}`;

/** The journal of a group, if these are all its disks. */
function journalOf(disks: readonly Disk[]): string | null {
  const group = disks[0]?.group ?? null;
  return group !== null && disks.length === group.disks.length && disks.every((disk) => disk.group === group) ? group.journal : null;
}

const isSame = (a: DiskRecord, b: DiskRecord): boolean => JSON.stringify(a) === JSON.stringify(b);

async function onlyOne(folder: DiskFolder): Promise<Disposable> {
  const lock = await tryProcessLock(folder.lock);
  if (lock !== null) return lock;
  throw new HoldfastError('DISK_EXISTS', 'another disk server serves the disks of this host', { socket: folder.controlSocket });
}
