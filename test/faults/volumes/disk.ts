/** A disk of a run: where it is served, its model, who is connected to it, and how it is compared. */
import { setTimeout as sleep } from 'node:timers/promises';
import { connectNbd } from '../../../src/engine/volumes/nbd/client.ts';
import { diskFolderOf } from '../../../src/engine/volumes/host.ts';
import { nbdUri, parseNbdUri } from '../../../src/engine/volumes/nbd/uri.ts';
import { connectDisk, Gone, type Connection } from '../../engine/volumes/nbd/disk-connection.ts';
import { DiskModel, judge } from './model.ts';
import { SECTOR_BYTES, valuesOf } from './stamp.ts';
import { messageOf, Violation } from './violation.ts';
import type { World } from './world.ts';

export interface DiskOptions {
  readonly name: string;
  readonly number: number;
  readonly path: string;
  readonly sizeBytes: number;
  readonly extentBytes: number;
}

const RETRY_MS = 50;
const AUDIT_SECTORS = 2048;
/** Extents in doubt of a disk that lacks its store cannot be read. */
const SETTLES_WITHIN_MS = 45_000;

export class Disk {
  readonly options: DiskOptions;
  readonly model: DiskModel;
  /** It may lack some of its snapshot. */
  isHydrating = false;
  /** It is being detached: who is cut off has deserved it. */
  isLeaving = false;
  readonly #world: World;
  readonly #connections = new Set<Connection>();
  #settling: Promise<void> | null = null;

  constructor(world: World, options: DiskOptions) {
    const { name, number, sizeBytes } = options;
    this.options = options;
    this.#world = world;
    this.model = new DiskModel({ name, number, sectors: sizeBytes / SECTOR_BYTES, clock: world.clock });
  }

  get uri(): string {
    return nbdUri({ path: diskFolderOf(this.#world.folder).nbdSocket }, false, this.options.name);
  }

  /** Waits until the server serves it; null: `isWanted` says that nobody needs it any more. */
  async connect(isWanted: () => boolean): Promise<Connection | null> {
    for (; isWanted(); await sleep(RETRY_MS)) {
      try {
        const connection = await connectDisk(this.uri, (what) => this.#world.fail(new Violation(what)));
        this.#connections.add(connection);
        void connection.ended.then(() => {
          this.#connections.delete(connection);
        });
        return connection;
      } catch (error) {
        if (!(error instanceof Gone)) throw error;
      }
    }
    return null;
  }

  /** Resolves when all its connections have ended. */
  async hungUp(): Promise<void> {
    await Promise.all([...this.#connections].map(({ ended }) => ended));
  }

  /** A refusal has its reason: a server that stops, or a store that a cold extent needs. */
  get mayRefuse(): boolean {
    return !this.#world.serves || (this.isHydrating && this.#world.isStruck);
  }

  async #read<T>(use: (read: (from: number, to: number) => Promise<Uint32Array>) => Promise<T>): Promise<T> {
    const parsed = parseNbdUri(this.uri);
    if (parsed === null) throw new Error(`${this.uri} is no export`);
    await using client = await connectNbd({ at: parsed.at, export: parsed.export, tls: null }, { contexts: [] });
    return await use(async (from, to) => {
      const bytes = Buffer.alloc((to - from) * SECTOR_BYTES);
      await client.read(bytes, from * SECTOR_BYTES);
      return valuesOf(bytes, from);
    });
  }

  /** Reads what is in doubt, as soon as it can be read. */
  settle(): Promise<void> {
    this.#settling ??= this.#settle().finally(() => (this.#settling = null));
    return this.#settling;
  }

  async #settle(): Promise<void> {
    const world = this.#world;
    for (const deadline = performance.now() + SETTLES_WITHIN_MS; !this.model.isSettled && !world.signal.aborted; await sleep(RETRY_MS)) {
      const { restarts } = world;
      try {
        await this.#read((read) => this.model.settle(read));
        world.counts.doubts++;
      } catch (error) {
        if (error instanceof Violation) throw error;
        if (this.isLeaving) return;
        if (restarts === world.restarts && !this.mayRefuse) throw new Violation(`${this.options.name} cannot be read: ${messageOf(error)}`);
        if (performance.now() > deadline) throw new Violation(`${this.options.name} cannot be read for long: ${messageOf(error)}`);
      }
    }
  }

  /** Compares all of it with its model, while it is written to. What is interrupted by the end of its server is begun again. */
  async audit(what: string): Promise<void> {
    const world = this.#world;
    for (; !world.signal.aborted; await sleep(RETRY_MS)) {
      await this.settle();
      const { restarts } = world;
      try {
        await this.#read((read) => this.#auditAll(read, what));
        world.counts.audits++;
        return;
      } catch (error) {
        if (error instanceof Violation) throw error;
        if (this.isLeaving) return;
        if (restarts === world.restarts && !this.mayRefuse) throw new Violation(`${what}: ${this.options.name}: ${messageOf(error)}`);
      }
    }
  }

  async #auditAll(read: (from: number, to: number) => Promise<Uint32Array>, what: string): Promise<void> {
    const { model } = this;
    for (let from = 0; from < model.sectors; from += AUDIT_SECTORS) {
      const observation = model.observe(from, Math.min(model.sectors, from + AUDIT_SECTORS));
      try {
        const found = await read(observation.from, observation.to);
        model.close(observation);
        if (!observation.spoiled) judge(observation, found, what, 'live');
      } finally {
        if (observation.ended === Infinity) model.close(observation);
      }
    }
  }
}
