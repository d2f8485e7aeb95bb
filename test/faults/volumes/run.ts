/**
 * One run: writers, captures, instant restores, and somebody who ends the disk server, the capturers and the stores, all at once
 * for a while; then everything is compared.
 *
 * What happens is decided by the seed, and when by the machine: the same seed gives the same decisions, not the same instants.
 */
import { readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { diskFolderOf } from '../../../src/engine/volumes/host.ts';
import { attachVolume } from '../../../src/systems/serving/serving.ts';
import { findVolume } from '../../../src/engine/catalog/catalog.ts';
import { Captures, explain, type Volume } from './captures.ts';
import type { Counts } from './counts.ts';
import { diceOf, type Dice } from './dice.ts';
import { Disk } from './disk.ts';
import { restoreInstantly } from './restores.ts';
import { valuesOf } from './stamp.ts';
import { Violation } from './violation.ts';
import { STORES, World } from './world.ts';
import { Writers } from './writers.ts';

const KIB = 1024;
const MIB = 1024 * KIB;

/** Sizes that end within an extent, a region and a subtree. */
const VOLUMES = [
  { name: 'a', sizeBytes: 14 * MIB + 5 * KIB, extentBytes: 16 * KIB },
  { name: 'b', sizeBytes: 20 * MIB + 512, extentBytes: 64 * KIB },
  { name: 'c', sizeBytes: 9 * MIB, extentBytes: 16 * KIB },
] as const;

export interface RunOptions {
  readonly seed: number;
  readonly seconds: number;
  readonly trace: (line: string) => void;
}

export interface RunReport {
  readonly counts: Counts;
  /** What did not hold, explained; null: all did. */
  readonly violation: string | null;
}

export async function playRun({ seed, seconds, trace }: RunOptions): Promise<RunReport> {
  await using world = await World.make(trace);
  await using captures = new Captures(world);
  const writersOf = new Map<Disk, Writers>();
  try {
    const volumes = await Promise.all(VOLUMES.map((_, i) => raise(world, i)));
    for (const { disk } of volumes) writersOf.set(disk, new Writers(world, disk, seed));
    const until = performance.now() + seconds * 1000;
    const goesOn = (): boolean => performance.now() < until && !world.signal.aborted;
    const scene: Scene = { world, captures, volumes, seed, writersOf, goesOn };
    const actors = [
      killing(scene),
      striking(scene),
      grouping(scene),
      restoring(scene),
      auditing(scene),
      ...volumes.map((one) => capturing(scene, one)),
    ];
    await Promise.all(actors.map((actor) => actor.catch((error: unknown) => world.fail(error))));
    world.note('the actors have left');
    if (world.violation === null) await end(scene);
  } catch (error) {
    world.fail(error);
  }
  // Before the disks go.
  if (world.violation !== null) world.note(world.logTail());
  await Promise.all([...writersOf.values()].map((writers) => writers.stop().catch(() => undefined)));
  return { counts: world.counts, violation: world.violation === null ? null : explain(world.violation) };
}

interface Scene {
  readonly world: World;
  readonly captures: Captures;
  readonly volumes: readonly Volume[];
  readonly seed: number;
  readonly writersOf: Map<Disk, Writers>;
  readonly goesOn: () => boolean;
}

async function raise(world: World, number: number): Promise<Volume> {
  const spec = VOLUMES[number];
  if (spec === undefined) throw new Error('no such volume');
  const file = path.join(world.folder, `${spec.name}.img`);
  writeFileSync(file, '');
  truncateSync(file, spec.sizeBytes);
  const name = await world.addVolume(spec.name, file, spec.extentBytes);
  await attachVolume(world.host, findVolume(await world.home.catalog.sync(), name));
  const disk = new Disk(world, { ...spec, number, path: file });
  world.disks.add(disk);
  return { name, disk, busy: Promise.resolve(), history: [] };
}

async function killing({ world, seed, goesOn }: Scene): Promise<void> {
  const dice = diceOf(seed, 'killing');
  for (;;) {
    await dice.pause(1200, 6000);
    if (!goesOn()) return;
    const roll = dice.below(100);
    await world.restart({
      // SIGKILL, SIGTERM, or the one right after the other.
      killAfterMs: roll < 65 ? 0 : roll < 82 ? null : dice.between(1, 150),
      awayMs: dice.between(0, 300),
      killAgainMs: dice.chance(0.15) ? dice.between(0, 1500) : null,
    });
  }
}

async function striking({ world, seed, goesOn }: Scene): Promise<void> {
  const dice = diceOf(seed, 'striking');
  for (;;) {
    await dice.pause(8000, 20_000);
    if (!goesOn()) return;
    await world.whileAway(dice.pick(STORES), () => dice.pause(100, 1200));
  }
}

async function capturing({ captures, seed, goesOn }: Scene, volume: Volume): Promise<void> {
  const dice = diceOf(seed, `capturing ${volume.name}`);
  for (;;) {
    await dice.pause(200, 3500);
    if (!goesOn()) return;
    await captures.capture(volume, dice);
  }
}

async function grouping({ captures, volumes, seed, goesOn }: Scene): Promise<void> {
  const dice = diceOf(seed, 'grouping');
  for (;;) {
    await dice.pause(800, 4000);
    if (!goesOn()) return;
    await captures.captureGroup(pairOf(volumes, dice), dice);
  }
}

function pairOf(volumes: readonly Volume[], dice: Dice): readonly Volume[] {
  const left = dice.pick(volumes);
  return volumes.filter((one) => one !== left);
}

async function restoring(scene: Scene): Promise<void> {
  const dice = diceOf(scene.seed, 'restoring');
  for (let number = 100; ; number++) {
    await dice.pause(500, 2500);
    if (!scene.goesOn()) return;
    await restoreInstantly({ ...scene, dice, number, volume: dice.pick(scene.volumes) });
  }
}

async function auditing({ world, volumes, seed, goesOn }: Scene): Promise<void> {
  const dice = diceOf(seed, 'auditing');
  for (;;) {
    await dice.pause(4000, 9000);
    if (!goesOn()) return;
    const { disk } = dice.pick(volumes);
    if (world.disks.has(disk) && !disk.isLeaving) await disk.audit('an audit');
  }
}

/** Nobody writes any more: all that there is is compared. */
async function end({ world, captures, volumes, seed, writersOf }: Scene): Promise<void> {
  const dice = diceOf(seed, 'end');
  for (const writers of writersOf.values()) await writers.stop();
  await world.restart({ killAfterMs: 0, awayMs: 0, killAgainMs: null });
  for (const { disk } of volumes) await disk.audit('the end');
  for (const volume of volumes) await demandCaptured(world, captures, volume, dice);
  await world.whileStopped(async () => {
    for (const { disk } of volumes) compareFile(disk);
  });
  // After a clean stop what changed is known exactly: nothing.
  for (const volume of volumes) await demandCaptured(world, captures, volume, dice, 0);
  await captures.compareAll(dice);
  await demandNoViews(world);
  await world.whileStopped(async () => demandNothingLeft(world, volumes));
  if (world.counts.incremental === 0) throw new Violation('no capture used what the disk server knew of changes');
}

async function demandCaptured(world: World, captures: Captures, volume: Volume, dice: Dice, changedBytes?: number): Promise<void> {
  if (!(await captures.capture(volume, dice, true))) throw new Violation(`${volume.name} cannot be captured at the end`);
  const told = captures.changedBytesOf(volume);
  if (changedBytes !== undefined && told !== changedBytes)
    throw new Violation(
      `${volume.name} was not written to since its last snapshot and a clean stop, and ${told} bytes are said to have changed`,
    );
  world.note(`${volume.name} is captured at the end`);
}

function compareFile({ options, model }: Disk): void {
  const found = valuesOf(readFileSync(options.path), 0);
  const sector = found.findIndex((value, i) => value !== model.values[i]);
  if (sector >= 0 || found.length !== model.sectors)
    throw new Violation(`the file of ${options.name}: sector ${sector} holds ${found[sector]}, acknowledged was ${model.values[sector]}`);
}

async function demandNoViews(world: World): Promise<void> {
  for (const { record, views } of await world.host.disks.list())
    if (views.length > 0) throw new Violation(`disk ${record.name} has open views: ${views.map(({ snapshot }) => snapshot).join(', ')}`);
}

/** After a clean stop: records and tracking. */
function demandNothingLeft(world: World, volumes: readonly Volume[]): void {
  const known = new Set([
    'control.sock',
    'nbd.sock',
    'server.lock',
    'server.lock-journal',
    ...volumes.map(({ disk }) => disk.options.name),
  ]);
  const root = path.dirname(diskFolderOf(world.folder).lock);
  for (const entry of readdirSync(root)) if (!known.has(entry)) throw new Violation(`${root} holds ${entry}, which belongs to no disk`);
  for (const { disk } of volumes)
    for (const entry of readdirSync(path.join(root, disk.options.name)))
      if (!/^(disk\.json|.*\.tracking)$/.test(entry)) throw new Violation(`the folder of ${disk.options.name} holds ${entry}`);
}
