/**
 * The disk server of a host: every disk that the host serves, over NBD, in one process (docs/serving.md).
 *
 * One process, because disks that belong together are frozen in one turn of its event loop: that is what makes their views
 * one moment. It needs no store and no Temporal; a disk that is still being restored needs its store for what it lacks.
 * What it serves is in records on this host, so that it comes back as it was. One server a folder: a lock says so.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { HoldfastError, isHoldfastError } from '../../domain/errors.ts';
import type { SnapshotId, VolumeName } from '../../domain/ids.ts';
import { DISK_VIEW_BYTES_MAX } from '../../domain/limits.ts';
import { openRestoreTarget } from '../../engine/transfer/restore-target.ts';
import { serveDiskControl } from '../../engine/volumes/disks/disk-control-server.ts';
import type { DiskOperations, DiskStatus, FrozenView, HydrationStatus, WantedView } from '../../engine/volumes/disks/disk-control.ts';
import { isSameFile, type DiskFolder, type DiskRecord, type HydrationRecord } from '../../engine/volumes/disks/disk-record.ts';
import { findHooks, whileAtRest } from '../../engine/volumes/hooks.ts';
import { threadCourtesy } from '../../engine/volumes/courtesy.ts';
import { checkExposure, type TcpAddress } from '../../engine/volumes/listening.ts';
import type { Certificates } from '../../engine/volumes/nbd/certificates.ts';
import { serveNbd, type NbdServer, type NbdServerEvent } from '../../engine/volumes/nbd/server.ts';
import { nbdUri } from '../../engine/volumes/nbd/uri.ts';
import { ServedVolume, type Freeze, type Origin, type VolumeEvent } from '../../engine/volumes/served-volume.ts';
import { tryProcessLock } from '../../ground/processes/process-lock.ts';

export type DiskEvent =
  | { readonly kind: 'nbd'; readonly event: NbdServerEvent }
  | { readonly kind: 'volume'; readonly disk: string; readonly event: VolumeEvent }
  | { readonly kind: 'unserved'; readonly disk: string; readonly error: unknown }
  | { readonly kind: 'hydrated'; readonly disk: string }
  | { readonly kind: 'hydration-failed'; readonly disk: string; readonly error: unknown }
  | { readonly kind: 'pin-left'; readonly disk: string; readonly pin: string; readonly error: unknown }
  | { readonly kind: 'mistake'; readonly error: unknown };

export interface DiskServerOptions {
  readonly folder: DiskFolder;
  readonly hooksFolder: string;
  /** Beside the Unix socket in the folder. */
  readonly listen: TcpAddress | null;
  readonly certificates: Certificates | null;
  /** Where a disk gets what it does not have itself yet. */
  readonly originOf: (of: HydrationRecord) => Origin & { lift(): Promise<void> };
  readonly onEvent: (event: DiskEvent) => void;
  readonly viewBytesMax?: number;
}

interface Asked {
  readonly disk: Disk;
  readonly volume: VolumeName;
  readonly snapshot: SnapshotId;
}

interface Disk {
  record: DiskRecord;
  readonly volume: ServedVolume;
  readonly views: Map<SnapshotId, { readonly freeze: Freeze; readonly answer: FrozenView }>;
  hydrating: { readonly ended: Promise<void>; readonly stop: AbortController };
  trouble: HydrationStatus['trouble'];
}

const RETRY_MS = 1000;
const RETRY_MS_MAX = 30_000;

export class DiskServer implements DiskOperations, AsyncDisposable {
  readonly #options: DiskServerOptions;
  readonly #disks = new Map<string, Disk>();
  readonly #courtesy = threadCourtesy();
  readonly #connections = new Map<string, number>();
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
      for (const record of records)
        await server.#open(record).catch((error: unknown) => options.onEvent({ kind: 'unserved', disk: record.name, error }));
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
      const record = disk?.record ?? (await this.#options.folder.read(name));
      if (record === null) throw new HoldfastError('DISK_NOT_FOUND', `no disk ${name} is served here`, { disk: name });
      const clients = this.#clientsOf(name);
      if (!force && clients > 0)
        throw new HoldfastError('DISK_IN_USE', `${clients} clients are connected to ${name}`, { disk: name, clients });
      if (!force && record.hydration !== null)
        throw new HoldfastError('DISK_IN_USE', `${name} does not hold all of ${record.hydration.snapshot} yet`, {
          disk: name,
          snapshot: record.hydration.snapshot,
        });
      if (disk !== undefined) await this.#close(disk);
      const from = record.hydration ?? record.releasing ?? null;
      if (from !== null) await this.#liftPin(name, from);
      await this.#options.folder.remove(name);
    });
  }

  freeze(wanted: readonly WantedView[]): Promise<readonly FrozenView[]> {
    return this.#exclusively(async () => {
      const asked = wanted.map(({ disk, volume, snapshot }) => ({ disk: this.#find(disk), volume, snapshot }));
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

  /** A clean stop: clients are told, what is tracked is exact. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping = true;
    for (const { server } of this.#servers.splice(0)) await server.close();
    await this.#inTurn(async () => {
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
    const freezes = await whileAtRest(
      hooks.filter((pair) => pair !== null),
      () => ServedVolume.freezeTogether(asked.map(({ disk, snapshot }) => ({ volume: disk.volume, snapshot }))),
    );
    const moment = randomUUID();
    const answers: FrozenView[] = [];
    for (const [i, { disk, snapshot }] of asked.entries()) {
      const freeze = freezes[i];
      if (freeze === undefined) continue;
      const { name } = disk.record;
      const uri = nbdUri({ path: this.#options.folder.nbdSocket }, false, `${name}@${snapshot}`);
      const answer = { disk: name, snapshot, uri, files: await freeze.files(), moment, consistency };
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
      exports: () => [...this.#disks.values()].flatMap(({ volume }) => volume.exports()),
      ...(certificates === null ? {} : { tls: { policy: 'required', ...certificates } }),
      onEvent: (event) => {
        this.#count(event);
        this.#options.onEvent({ kind: 'nbd', event });
      },
    });
    this.#servers.push({ server, secure: certificates !== null });
  }

  #count(event: NbdServerEvent): void {
    if (event.kind === 'failure' || event.export === null) return;
    const now = (this.#connections.get(event.export) ?? 0) + (event.kind === 'connected' ? 1 : -1);
    if (now > 0) this.#connections.set(event.export, now);
    else this.#connections.delete(event.export);
  }

  async #open(record: DiskRecord): Promise<Disk> {
    const { name, path, sizeBytes, extentBytes, hydration } = record;
    const volume = await ServedVolume.open({
      ...{ name, path, sizeBytes, extentBytes },
      stateFolder: this.#options.folder.stateOf(name),
      preserveBytesMax: this.#options.viewBytesMax ?? DISK_VIEW_BYTES_MAX,
      courtesy: this.#courtesy,
      origin: hydration === null ? null : this.#options.originOf(hydration),
      onEvent: (event) => this.#options.onEvent({ kind: 'volume', disk: name, event }),
    });
    const stop = new AbortController();
    const disk: Disk = { record, volume, views: new Map(), trouble: null, hydrating: { stop, ended: Promise.resolve() } };
    this.#disks.set(name, disk);
    if (hydration !== null) disk.hydrating = { stop, ended: this.#hydrate(disk, hydration, stop.signal) };
    else if (record.releasing !== undefined) disk.hydrating = { stop, ended: this.#release(disk, record.releasing, stop.signal) };
    return disk;
  }

  async #close(disk: Disk): Promise<void> {
    const { name } = disk.record;
    // Out of the list first: nobody new finds it, and whoever has it is told before its files are closed.
    this.#disks.delete(name);
    const exports = [name, ...[...disk.views.keys()].map((snapshot) => `${name}@${snapshot}`)];
    for (const { server } of this.#servers) await Promise.all(exports.map((one) => server.cut(one)));
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

  /** Until all is here, however often the store fails; then the disk stands alone, and its record says so. */
  async #hydrate(disk: Disk, from: HydrationRecord, signal: AbortSignal): Promise<void> {
    const { name } = disk.record;
    for (let waitMs = RETRY_MS; !signal.aborted; waitMs = Math.min(RETRY_MS_MAX, waitMs * 2)) {
      try {
        await disk.volume.hydrate(signal);
        await this.#note(disk, { ...disk.record, hydration: null, releasing: from });
        disk.trouble = null;
        this.#options.onEvent({ kind: 'hydrated', disk: name });
        return await this.#release(disk, from, signal);
      } catch (error) {
        if (signal.aborted) return;
        const { code, message, retryable } = isHoldfastError(error)
          ? error
          : { code: 'INTERNAL' as const, message: String(error), retryable: true };
        disk.trouble = { code, message, retryable };
        this.#options.onEvent({ kind: 'hydration-failed', disk: name, error });
        if (!retryable) return;
        await sleep(waitMs, undefined, { signal }).catch(() => undefined);
      }
    }
  }

  /** Until the pin is lifted, however long its store is away: the disk stands alone, and nobody waits for this. */
  async #release(disk: Disk, from: HydrationRecord, signal: AbortSignal): Promise<void> {
    for (let waitMs = RETRY_MS; !signal.aborted; waitMs = Math.min(RETRY_MS_MAX, waitMs * 2)) {
      if (await this.#liftPin(disk.record.name, from)) {
        const { releasing: _, ...record } = disk.record;
        return this.#note(disk, record);
      }
      await sleep(waitMs, undefined, { signal }).catch(() => undefined);
    }
  }

  async #note(disk: Disk, record: DiskRecord): Promise<void> {
    await this.#options.folder.write(record);
    disk.record = record;
  }

  /** False: its store cannot be had now. Where there is nothing to lift any more, or never will be, nothing is left to do. */
  async #liftPin(disk: string, from: HydrationRecord): Promise<boolean> {
    try {
      await this.#options.originOf(from).lift();
      return true;
    } catch (error) {
      this.#options.onEvent({ kind: 'pin-left', disk, pin: from.pin, error });
      return isHoldfastError(error) && !error.retryable;
    }
  }

  #statusOf({ record, volume, trouble }: Disk): DiskStatus {
    const { views, writersHeld, heldMs, hydration } = volume.figures();
    return {
      ...{ record, views, writersHeld, heldMs },
      uris: this.#servers.map(({ server, secure }) => nbdUri(server.address, secure, record.name)),
      connections: this.#connections.get(record.name) ?? 0,
      hydration: hydration &&
        record.hydration && { ...hydration, snapshot: record.hydration.snapshot, store: record.hydration.store, trouble },
    };
  }
}

/** A disk that is to be filled begins as an empty file; an earlier try may have made it, one with anything in it is somebody's. */
async function createTarget({ path, sizeBytes, hydration }: DiskRecord): Promise<void> {
  if (hydration === null) return;
  await (await openRestoreTarget(path, { sizeBytes, existing: 'blank' }))[Symbol.asyncDispose]();
}

const isSame = (a: DiskRecord, b: DiskRecord): boolean => JSON.stringify(a) === JSON.stringify(b);

async function onlyOne(folder: DiskFolder): Promise<Disposable> {
  const lock = await tryProcessLock(folder.lock);
  if (lock !== null) return lock;
  throw new HoldfastError('DISK_EXISTS', 'another disk server serves the disks of this host', { socket: folder.controlSocket });
}
