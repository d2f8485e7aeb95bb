/**
 * Objects of a region rot, or vanish: a batch, a seal, a base.
 *
 * In a run it is one region that does this to its own, and only to what another one holds by the log: then nothing may come of it but
 * more work. What vanishes from an open chain is such that something behind it says that it was acknowledged; a lost end, of which
 * nothing tells, is no different from one that never came. A fence that vanishes is no fence, so seals of a pair only rot.
 */
import { batchName, parseBatchName } from '../../../src/engine/journal/object-names.ts';
import { listedIn } from './points.ts';
import { isNeededBy } from './reference.ts';
import { rotten, SNAPSHOTS } from './snapshots.ts';
import type { SimulatedRegion, World } from './world.ts';

export type Harm = 'changed' | 'gone';

/** Bytes of a sealed object's frame that stand-in crypto does not mind: its salt. */
const NOTHING = Buffer.alloc(0);
const SALT = { from: 48, to: 80 };

/** Harms an object of the region that rots, if that may be; whether an open chain has a hole by that. */
export function rot(world: World): boolean {
  const { random, regions, oracle } = world;
  const region = regions.get((world.rots ??= random.pick([...regions.keys()])));
  if (region === undefined || region.objects.byName.size === 0) return false;
  const name = random.pick([...region.objects.byName.keys()]);
  const how = random.pick(['changed', 'gone'] as const);
  if (region.harmed.has(name) || !mayHarm(world, region, name, how)) return false;
  const place = parseBatchName(name);
  const isInChain =
    place !== null && place.epoch === oracle.state().current && oracle.isBatch(place, region.objects.byName.get(name) ?? NOTHING);
  harm(world, region, name, how);
  return isInChain && how === 'gone';
}

export function harm(world: World, region: SimulatedRegion, name: string, how: Harm): void {
  const { random, oracle } = world;
  const stored = region.objects.byName.get(name);
  if (stored === undefined) return;
  region.harmed.set(name, stored);
  region.wasHarmed.add(name);
  const place = parseBatchName(name);
  if (place !== null && how === 'gone') oracle.vanished(region.name, place);
  region.objects.harm(name, how === 'gone' ? null : place === null ? rotten(stored) : changed(stored));
  world.count(`harmed: ${place === null ? 'a base' : oracle.isBatch(place, stored) ? 'a batch' : 'a seal'}, ${how}`);
  world.trace?.(`       ${region.name}: ${name} is ${how}`);

  function changed(bytes: Buffer): Buffer {
    if (random.chance(0.3)) return bytes.subarray(0, random.below(bytes.length));
    const at = random.below(bytes.length);
    const out = Buffer.from(bytes);
    const there = at >= SALT.from && at < SALT.to ? SALT.to : at;
    out.writeUInt8((out.readUInt8(there) + random.between(1, 256)) % 256, there);
    return out;
  }
}

function mayHarm(world: World, region: SimulatedRegion, name: string, how: Harm): boolean {
  const { oracle, regions, mode } = world;
  const others = [...regions.keys()].filter((other) => other !== region.name);
  if (name.startsWith(SNAPSHOTS)) {
    // One that somebody is about to record may come to be the only base behind a gap.
    const isBase = (oracle.state().bases.get(region.name) ?? []).some(({ snapshots }) =>
      snapshots.some(({ id }) => name === SNAPSHOTS + id),
    );
    if (!isBase) return false;
    const elsewhere = new Set(others.flatMap((other) => [...listedIn(world, other)]));
    const listed = [...listedIn(world, region.name)];
    // A region that lacks something later lists nothing, and its base may be what the others are filled from.
    return listed.length > 0 && listed.every((seq) => elsewhere.has(seq));
  }
  const place = parseBatchName(name);
  const stored = region.objects.byName.get(name);
  const state = oracle.state();
  const epoch = place === null ? undefined : state.epochs.get(place.epoch);
  if (place === null || stored === undefined || epoch === undefined) return false;
  const { index } = place;
  if (!oracle.isBatch(place, stored)) return how === 'changed' || (mode === 'local' && epoch.end !== null);
  if (epoch.end !== null && index > epoch.end.index) return true;
  const holders = epoch.end === null ? epoch.members.map((member) => member.region) : epoch.full;
  const isElsewhere = others.some(
    (other) =>
      holders.includes(other) && oracle.held(other, epoch.epoch, index) !== undefined && isNeededBy(state, other, epoch.epoch, index),
  );
  return isElsewhere && (how === 'changed' || epoch.end !== null || isMissed(world, region, epoch.epoch, index));
}

/** How far behind a place a reader looks. */
const LOOKED_AT = 8;

/** Whether a batch behind a place says that the one there was acknowledged. */
function isMissed({ oracle }: World, { objects }: SimulatedRegion, epoch: number, index: number): boolean {
  for (let behind = index + 1; behind <= index + LOOKED_AT; behind++)
    if (objects.byName.has(batchName(epoch, behind)) && (oracle.born(epoch, behind)?.acknowledgedBatches ?? 0) > index) return true;
  return false;
}
