/**
 * Captures of a run: ordered to capturers, killed with them or with the disk server, and compared with the model of their moment.
 *
 * What a capture may fail of is the end of a server, of a store or of itself. Whatever it has committed is what its disk held at
 * some moment between the question for the freeze and its answer, in each store; of a group, both disks at the same one.
 */
import { readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { isHoldfastError } from '../../../src/domain/errors.ts';
import { newSnapshotId, type SnapshotId, type StoreName, type VolumeName } from '../../../src/domain/ids.ts';
import { createSnapshotView } from '../../../src/engine/volumes/snapshot-view.ts';
import { restoreSnapshot } from '../../systems/restore-snapshot.ts';
import { Capturer, type CaptureEnding, type CaptureLine, type OpenedLine, type Word } from './capturer-process.ts';
import type { Dice } from './dice.ts';
import type { Disk } from './disk.ts';
import { demandOneMoment, judge, type Interval, type Observation } from './model.ts';
import { valuesOf } from './stamp.ts';
import { messageOf, Violation } from './violation.ts';
import { REPOSITORY, STORES, type World } from './world.ts';

/** A volume of the catalog, and the disk that it is now. */
export interface Volume {
  readonly name: VolumeName;
  disk: Disk;
  /** One capture at a time, as the workflow's id sees to. */
  busy: Promise<unknown>;
  /** What can be restored, oldest first. */
  readonly history: Committed[];
}

export interface Committed {
  readonly snapshot: SnapshotId;
  readonly store: StoreName;
  readonly values: Uint32Array;
  readonly extentBytes: number;
}

interface Attempted {
  readonly snapshot: SnapshotId;
  readonly volume: Volume;
  readonly disk: Disk;
  readonly observation: Observation;
  /** What had befallen the world before it began. */
  readonly since: { readonly restarts: number; readonly strikes: number };
  moment: Pick<OpenedLine, 'identity' | 'stamp'> | null;
  readonly committed: Set<StoreName>;
  readonly compared: Set<StoreName>;
  /** What the disk server said had changed since its base. */
  changedBytes: number | null;
  /** What the first store that was compared holds. */
  content: Uint32Array | null;
  interval: Interval | null;
}

const ATTEMPTS_MAX = 3;
const HISTORY_MAX = 4;
/** Ends of a capture that has lost its server or its store. */
const OF_THE_SERVER = new Set(['SOURCE_UNREADABLE', 'DISKS_NOT_SERVED', 'SOURCE_CHANGED']);
const OF_THE_STORE = new Set(['STORE_UNREACHABLE', 'OBJECT_MISSING']);
/** A capturer that was killed after it had let its moment go leaves its successor another one. */
const OF_A_KILL = new Set(['SOURCE_CHANGED']);

export class Captures implements AsyncDisposable {
  readonly #world: World;
  readonly #idle: Capturer[] = [];
  readonly #all = new Set<Capturer>();
  readonly #attempted = new Map<SnapshotId, Attempted>();
  #started = 0;

  constructor(world: World) {
    this.#world = world;
  }

  /** Captures a volume, unless its server goes away meanwhile; true: it is committed. `calm`: nobody kills the capturer. */
  capture(volume: Volume, dice: Dice, calm = false): Promise<boolean> {
    return this.#alone([volume], async () => {
      const [attempted] = await this.#begin([volume], dice);
      if (attempted === undefined || !(await this.#carryOut(attempted, dice, calm))) return false;
      await this.#compare([attempted], dice);
      return true;
    });
  }

  /** Freezes volumes at one moment and captures them. */
  captureGroup(volumes: readonly Volume[], dice: Dice): Promise<boolean> {
    return this.#alone(volumes, async () => {
      const { host } = this.#world;
      const group = await this.#begin(volumes, dice);
      if (group.length === 0) return false;
      const wanted = group.map(({ disk, volume, snapshot }) => ({ disk: disk.options.name, volume: volume.name, snapshot }));
      const views = await host.disks.freeze(wanted).catch((error: unknown) => {
        if (isHoldfastError(error, 'DISKS_NOT_SERVED')) return null;
        throw error;
      });
      for (const { disk, observation } of group) disk.model.close(observation);
      const [first] = views ?? [];
      if (first === undefined || group.some(({ observation }) => observation.spoiled)) return false;
      for (const one of group) one.moment = { identity: first.moment, stamp: '' };
      const done = await Promise.all(group.map((one) => this.#carryOut(one, dice, false)));
      const whole = group.filter((_, i) => done[i]);
      await this.#compare(whole, dice);
      if (whole.length === group.length) this.#world.counts.groups++;
      return whole.length === group.length;
    });
  }

  /** What the newest capture of a volume was told. */
  changedBytesOf(volume: Volume): number | null {
    return [...this.#attempted.values()].findLast((one) => one.volume === volume)?.changedBytes ?? null;
  }

  async #alone<T>(volumes: readonly Volume[], work: () => Promise<T>): Promise<T> {
    const run = Promise.all(volumes.map(({ busy }) => busy)).then(work);
    for (const volume of volumes) volume.busy = run.catch(() => undefined);
    return run;
  }

  /** With every disk's observation begun; none while something of one is in doubt. */
  async #begin(volumes: readonly Volume[], dice: Dice): Promise<readonly Attempted[]> {
    for (const { disk } of volumes) await disk.settle();
    if (volumes.some(({ disk }) => !disk.model.isSettled || disk.isLeaving)) return [];
    const { restarts, strikes } = this.#world;
    return volumes.map((volume) => {
      const { disk } = volume;
      const snapshot = newSnapshotId(Date.now(), dice.random);
      const attempted: Attempted = {
        ...{ snapshot, volume, disk, observation: disk.model.observe(), since: { restarts, strikes }, moment: null },
        ...{ committed: new Set<StoreName>(), compared: new Set<StoreName>(), changedBytes: null, content: null, interval: null },
      };
      this.#attempted.set(snapshot, attempted);
      return attempted;
    });
  }

  async #carryOut(attempted: Attempted, dice: Dice, calm: boolean): Promise<boolean> {
    const world = this.#world;
    const { snapshot, volume, disk, observation, since } = attempted;
    const wasHydrating = disk.isHydrating;
    let wasKilled = false;
    const onLine = (line: CaptureLine): void => {
      if (line.kind === 'committed') attempted.committed.add(line.store);
      if (line.kind === 'shipped') attempted.changedBytes = line.changedBytes;
      if (line.kind === 'store failed') this.#demandReason(volume, line.code, since, wasKilled, line.store);
      if (line.kind === 'opened') for (const { store, code } of line.failed) this.#demandReason(volume, code, since, wasKilled, store);
    };
    for (let attempt = 1; attempt <= ATTEMPTS_MAX; attempt++) {
      const ending = await this.#order(attempted, {
        attempt,
        onLine,
        killAfterMs: !calm && dice.chance(0.15) ? dice.between(20, 900) : null,
      });
      world.note(`capture ${snapshot} of ${volume.name}, attempt ${attempt}: ${JSON.stringify(ending)}`);
      if (ending.kind === 'done') {
        if (attempted.committed.size === 0) return false;
        await this.#demandReleased(attempted);
        world.counts.captures++;
        if (attempted.changedBytes !== null) world.counts.incremental++;
        if (wasHydrating) world.counts.hydratingCaptures++;
        return true;
      }
      if (ending.kind === 'killed') {
        wasKilled = true;
        world.counts.capturerKills++;
        if (dice.chance(0.3)) break;
        continue;
      }
      this.#demandReason(volume, ending.code, since, wasKilled, `${ending.message}\n${ending.stack}`);
      break;
    }
    if (observation.ended === Infinity) disk.model.close(observation);
    world.counts.givenUp++;
    return false;
  }

  async #order(
    attempted: Attempted,
    {
      attempt,
      onLine,
      killAfterMs,
    }: { readonly attempt: number; readonly onLine: (line: CaptureLine) => void; readonly killAfterMs: number | null },
  ): Promise<CaptureEnding> {
    const { snapshot, volume } = attempted;
    const capturer = this.#idle.pop() ?? this.#hire();
    const kill = killAfterMs === null ? null : setTimeout(() => capturer.kill(), killAfterMs);
    const ending = await capturer.carryOut({ volume: volume.name, snapshot, owner: `capture ${snapshot}`, attempt }, onLine, (line) =>
      this.#answer(attempted, line),
    );
    if (kill !== null) clearTimeout(kill);
    if (capturer.isAlive && ending.kind !== 'killed') this.#idle.push(capturer);
    return ending;
  }

  #hire(): Capturer {
    const capturer = new Capturer(this.#world.folder, this.#started++ % 6, this.#world.variables);
    this.#all.add(capturer);
    return capturer;
  }

  /** What the model knows of the moment is good unless the server went meanwhile; then it is another moment. */
  #answer(attempted: Attempted, line: OpenedLine): Word {
    const { observation, disk, volume, moment } = attempted;
    if (line.momentKind !== 'served')
      this.#world.fail(new Violation(`${volume.name} was captured ${line.momentKind}, though it is served`));
    if (observation.ended === Infinity) disk.model.close(observation);
    if (observation.spoiled) return { kind: 'give up' };
    attempted.moment ??= line;
    if (moment?.stamp === '') attempted.moment = { ...line, identity: moment.identity };
    const { identity } = attempted.moment ?? line;
    return { kind: identity === line.identity || attempted.committed.size === STORES.length ? 'go' : 'give up' };
  }

  #demandReason(volume: Volume, code: string, since: Attempted['since'], wasKilled: boolean, what: string): void {
    const world = this.#world;
    const struck = world.isStruck || since.strikes < world.strikes;
    if (OF_THE_SERVER.has(code) && (since.restarts < world.restarts || !world.serves)) return;
    if (OF_THE_STORE.has(code) && struck) return;
    if (code === 'SOURCE_UNREADABLE' && volume.disk.isHydrating && struck) return;
    if (OF_A_KILL.has(code) && wasKilled) return;
    world.fail(new Violation(`a capture of ${volume.name} failed without a reason: ${code}: ${what}`));
  }

  async #demandReleased({ disk, snapshot }: Attempted): Promise<void> {
    const served = await this.#world.host.disks.list().catch((error: unknown) => {
      if (isHoldfastError(error, 'DISKS_NOT_SERVED')) return [];
      throw error;
    });
    const left = served.find(({ record }) => record.name === disk.options.name)?.views.some((view) => view.snapshot === snapshot);
    if (left === true) throw new Violation(`the view ${disk.options.name}@${snapshot} is open after its capture has let it go`);
  }

  // -- comparing ----------------------------------------------------------------------------------------------------

  async #compare(group: readonly Attempted[], dice: Dice): Promise<void> {
    for (const one of group) for (const store of one.committed) await this.#compareIn(one, store, dice.chance(0.15));
    const intervals = group.flatMap(({ interval }) => interval ?? []);
    if (intervals.length > 0)
      demandOneMoment(intervals, `the moment of ${group.map(({ disk, snapshot }) => `${disk.options.name}@${snapshot}`).join(', ')}`);
  }

  async #compareIn(attempted: Attempted, store: StoreName, restored: boolean): Promise<void> {
    const { snapshot, disk, volume, observation } = attempted;
    const what = `snapshot ${snapshot} of ${volume.name} in ${store}${restored ? ', restored' : ''}`;
    const values = await this.#world.insist(what, () => this.#contentOf(attempted, store, restored));
    attempted.compared.add(store);
    this.#world.counts.snapshots++;
    if (attempted.content === null) {
      attempted.interval = judge(observation, values, what, 'frozen');
      demandOneMoment([attempted.interval], what);
      attempted.content = values;
    } else {
      const { content } = attempted;
      const sector = values.findIndex((value, i) => value !== content[i]);
      if (sector >= 0)
        throw new Violation(`${what}: sector ${sector} holds ${values[sector]}, and ${content[sector]} in the store compared first`);
    }
    volume.history.push({ snapshot, store, values: attempted.content, extentBytes: disk.options.extentBytes });
    if (volume.history.length > HISTORY_MAX) volume.history.shift();
  }

  async #contentOf({ snapshot, volume, disk }: Attempted, store: StoreName, restored: boolean): Promise<Uint32Array> {
    const reader = await this.#world.home.reader(store, REPOSITORY);
    await reader.sync();
    const found = reader.ledger().snapshots.get(snapshot);
    if (found === undefined) throw new Violation(`snapshot ${snapshot} of ${volume.name} was committed to ${store}, and is not there`);
    if (restored) {
      const target = path.join(this.#world.folder, `compared.${snapshot}.${store}`);
      try {
        await restoreSnapshot(reader, this.#world.threads, { volume: volume.name, snapshot, target, owner: `compare ${snapshot}` });
        return valuesOf(readFileSync(target), 0);
      } finally {
        rmSync(target, { force: true });
      }
    }
    const bytes = Buffer.alloc(disk.options.sizeBytes);
    const view = createSnapshotView(reader, found, { cacheBytes: 0, ahead: 0 });
    for (let at = 0; at < bytes.length; at += found.extentBytes) (await view.extent(at / found.extentBytes))?.copy(bytes, at);
    return valuesOf(bytes, 0);
  }

  /** Every snapshot that a store has, also those whose capturer was killed before it could tell. */
  async compareAll(dice: Dice): Promise<void> {
    for (const store of STORES) {
      const reader = await this.#world.home.reader(store, REPOSITORY);
      await reader.sync();
      for (const { id } of reader.ledger().snapshots.values()) {
        const attempted = this.#attempted.get(id);
        if (attempted === undefined || attempted.moment === null || attempted.observation.spoiled)
          throw new Violation(`${store} has a snapshot ${id} that nobody was told to commit`);
        if (!attempted.compared.has(store)) await this.#compareIn(attempted, store, dice.chance(0.1));
      }
      for (const { snapshot, committed, compared } of this.#attempted.values())
        if (committed.has(store) && !compared.has(store)) throw new Violation(`${store} has lost snapshot ${snapshot}`);
      const [pin] = reader.ledger().pins.keys();
      if (pin !== undefined) throw new Violation(`${store} has a pin that nobody needs: ${pin}`);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#all].map((capturer) => capturer[Symbol.asyncDispose]()));
  }
}

export const explain = (error: unknown): string => (error instanceof Error ? (error.stack ?? error.message) : messageOf(error));
