/**
 * Instant restores of a run: a snapshot is a disk at once, written to while it is still fetched, captured on the way, and in the end
 * alone; then it takes the place of its volume's disk, or is compared without its store and detached.
 */
import { existsSync, readdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isHoldfastError } from '../../../src/domain/errors.ts';
import { HOST } from '../../systems/installation.ts';
import { diskFolderOf } from '../../../src/engine/volumes/host.ts';
import { beginHydration, promote } from '../../../src/systems/serving/serving.ts';
import type { Captures, Committed, Volume } from './captures.ts';
import type { Dice } from './dice.ts';
import { Disk } from './disk.ts';
import { SECTOR_BYTES } from './stamp.ts';
import { Violation } from './violation.ts';
import { REPOSITORY, type World } from './world.ts';
import { Writers } from './writers.ts';

export interface RestoreOptions {
  readonly world: World;
  readonly captures: Captures;
  readonly dice: Dice;
  readonly seed: number;
  /** Tells restores apart. */
  readonly number: number;
  readonly volume: Volume;
  /** The writers of the volume's disk, which end when another one takes its place. */
  readonly writersOf: Map<Disk, Writers>;
}

const ALONE_WITHIN_MS = 120_000;
/** The disk server tries again after half a minute at the latest. */
const UNPINNED_WITHIN_MS = 45_000;
const LOOK_MS = 100;

export async function restoreInstantly(options: RestoreOptions): Promise<void> {
  const { world, dice, seed, number, volume } = options;
  if (volume.history.length === 0) return;
  const chosen = dice.chance(0.6) ? volume.history.at(-1) : dice.pick(volume.history);
  if (chosen === undefined) return;
  const disk = await begin(options, chosen);
  const own: Volume = {
    name: await world.addVolume(`r${number}`, disk.options.path, chosen.extentBytes),
    disk,
    busy: Promise.resolve(),
    history: [],
  };
  const writers = new Writers(world, disk, seed);
  const harassing = harass(options, chosen);
  const takesPlace = dice.chance(0.35);
  if (takesPlace) await takePlace(options, disk, writers);
  for (let i = 0; i < 3 && !world.signal.aborted; i++) {
    await dice.pause(0, 600);
    await options.captures.capture(takesPlace ? volume : own, dice);
  }
  await harassing;
  await standAlone(options, disk, chosen);
  if (takesPlace) world.counts.promotions++;
  if (takesPlace) return;
  await dice.pause(0, 500);
  await writers.stop();
  await compareWithoutStore(options, disk, chosen);
  await detach(world, disk);
}

async function begin({ world, dice, number, volume }: RestoreOptions, { snapshot, store, values, extentBytes }: Committed): Promise<Disk> {
  const name = `r${number}`;
  const target = path.join(world.folder, `${name}.img`);
  const plan = { volume: volume.name, store, repository: REPOSITORY, snapshot, target, host: HOST, disk: name, promote: false };
  const disk = new Disk(world, { name, number, path: target, sizeBytes: values.length * SECTOR_BYTES, extentBytes });
  disk.isHydrating = true;
  disk.model.restoredFrom(values, extentBytes / SECTOR_BYTES);
  const strike = dice.chance(0.15) ? world.whileAway(store, () => dice.pause(200, 900)) : null;
  await world.insist(`instant restore ${name}`, () => beginHydration(world.home, world.host, plan, name));
  await strike;
  world.disks.add(disk);
  world.counts.restores++;
  world.note(`instant restore ${name} of ${snapshot} of ${volume.name} from ${store}`);
  return disk;
}

/** What befalls it while it is fetched: it would be over before a random moment came. */
async function harass({ world, dice }: RestoreOptions, { store }: Committed): Promise<void> {
  await dice.pause(0, 250);
  const roll = dice.below(10);
  if (roll === 0) return;
  if (roll < 3) return world.restart({ killAfterMs: 0, awayMs: dice.between(0, 100), killAgainMs: null });
  if (roll < 5) return world.whileAway(store, () => dice.pause(500, 3000));
  await world.whileAway(store, async () => {
    // Late: it is captured into the other store before that, as far as what was written to it has changed.
    await (roll < 7 ? dice.pause(0, 200) : dice.pause(1000, 3000));
    await world.restart({ killAfterMs: dice.pick([0, 0, 50]), awayMs: 0, killAgainMs: dice.chance(0.3) ? dice.between(0, 900) : null });
    await dice.pause(0, 2000);
  });
}

/** Waits until it has all of its snapshot itself. */
async function standAlone({ world }: RestoreOptions, disk: Disk, { snapshot, store }: Committed): Promise<void> {
  const { name } = disk.options;
  for (const deadline = performance.now() + ALONE_WITHIN_MS; !world.signal.aborted; await sleep(LOOK_MS)) {
    const served = await world.host.disks.list().catch((error: unknown) => {
      if (isHoldfastError(error, 'DISKS_NOT_SERVED')) return null;
      throw error;
    });
    const status = served?.find(({ record }) => record.name === name);
    if (served !== null && world.serves && status === undefined) throw new Violation(`disk ${name} is served no more\n${world.logTail()}`);
    const trouble = status?.hydration?.trouble;
    if (trouble?.retryable === false)
      throw new Violation(`disk ${name} does not get all of ${snapshot}: ${trouble.code}: ${trouble.message}`);
    if (status !== undefined && status.record.hydration === null) break;
    if (performance.now() > deadline)
      throw new Violation(
        `disk ${name} does not stand alone after ${ALONE_WITHIN_MS} ms: ${JSON.stringify(status?.hydration ?? null)}\n${world.logTail()}`,
      );
  }
  await disk.settle();
  disk.model.standsAlone();
  disk.isHydrating = false;
  world.counts.alone++;
  world.note(`${name} stands alone`);
  await demandUnpinned(world, name, store);
}

/** The pin is lifted a moment later, and after a store's absence later still. */
async function demandUnpinned(world: World, name: string, store: Committed['store']): Promise<void> {
  const isPinned = async (): Promise<boolean> => {
    const reader = await world.home.reader(store, REPOSITORY);
    await reader.sync();
    return reader.ledger().pins.has(`hydrate.${name}`);
  };
  for (const deadline = performance.now() + UNPINNED_WITHIN_MS; !world.signal.aborted; await sleep(LOOK_MS)) {
    if (!(await world.insist('a look at the pins', isPinned))) return;
    if (performance.now() > deadline) throw new Violation(`${store} holds the pin of ${name}, which stands alone\n${world.logTail()}`);
  }
}

/** The volume is this disk from now on; its old one goes. */
async function takePlace({ world, volume, writersOf }: RestoreOptions, disk: Disk, writers: Writers): Promise<void> {
  const run = volume.busy.then(async () => {
    const old = volume.disk;
    await world.insist('a promotion', () => promote(world.home.catalog, volume.name, disk.options.path, HOST));
    volume.disk = disk;
    await writersOf.get(old)?.stop();
    writersOf.delete(old);
    writersOf.set(disk, writers);
    await detach(world, old);
  });
  volume.busy = run.catch(() => undefined);
  await run;
}

async function compareWithoutStore({ world, number }: RestoreOptions, disk: Disk, { store }: Committed): Promise<void> {
  await world.whileAway(store, () => disk.audit(`r${number} without its store`));
}

export async function detach(world: World, disk: Disk): Promise<void> {
  const { name, path: file } = disk.options;
  disk.isLeaving = true;
  const { restarts } = world;
  await disk.hungUp();
  await world.insist(`detaching ${name}`, () =>
    world.host.disks.detach(name, false).catch((error: unknown) => {
      // It was made, and the answer was lost with the server.
      if (!isHoldfastError(error, 'DISK_NOT_FOUND') || restarts === world.restarts) throw error;
    }),
  );
  world.disks.delete(disk);
  const folder = diskFolderOf(world.folder).stateOf(name);
  // A server that was killed between the record's end and the folder's leaves a folder that means nothing (docs/serving.md).
  if (existsSync(folder) && restarts === world.restarts)
    throw new Violation(`disk ${name} was detached, and its folder holds ${readdirSync(folder).join(', ')}`);
  if ((await world.host.disks.servedFrom(file)) !== null) throw new Violation(`disk ${name} was detached, and has a record`);
  rmSync(file);
  world.note(`${name} is detached`);
}
