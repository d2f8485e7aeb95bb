/**
 * The healer: what a receiver does whose proof finds packs wanting. It proves what its own view of the table counts, brings
 * what is lost (and at times more than that) into packs of its claim, and moves the rows.
 */
import { lineageOf, volumeName } from '../../src/domain/ids.ts';
import { abortClaim, claimLineage } from '../../src/engine/repository/claims.ts';
import { openDestination, type HealingDestination } from '../../src/engine/repository/destination.ts';
import type { Location } from '../../src/engine/repository/location.ts';
import { packNameOf } from '../../src/engine/repository/object-names.ts';
import { packKeyOf } from '../../src/engine/repository/pack.ts';
import type { Repository } from '../../src/engine/repository/repository.ts';
import type { PackSize } from '../../src/engine/transfer/contract.ts';
import { unsealBlob } from '../../src/ground/sealing/blob.ts';
import { putBodies, type ValueBody } from '../engine/repository/ship.ts';
import { Violation } from './violation.ts';
import type { World } from './world.ts';

/** A value, where the table says that it lies, and its bytes, had again from whoever has them. */
interface Found extends ValueBody {
  readonly location: Location;
  readonly kind: 'extent' | 'node';
}

/** Values to a pack: few, so that one heal takes several packs. */
const VALUES_A_PACK = 3;
/** Healthy values that are brought all the same, at the most. */
const TOO_MANY = 3;
const GROUPS = 4;

export async function healLost(
  world: World,
  repository: Repository,
  destination: HealingDestination,
  pause: () => Promise<void> | null = () => null,
): Promise<void> {
  const { losses, oracle, random } = world;
  const proven = prove(world, repository);
  const lost = proven.filter(({ fingerprint, location }) => losses.isLost(fingerprint.toString('hex'), location));
  if (lost.length === 0) return;
  const packs = new Map(lost.map(({ location }) => [location.pack.toString('hex'), location.pack]));
  await pause();
  const brought = new Map<string, Location>();
  const sizes = new Map<string, PackSize>();
  for (const kind of ['extent', 'node'] as const) {
    const values = proven.filter((value) => value.kind === kind);
    for (let i = 0; i < values.length; i += VALUES_A_PACK)
      await putBodies(destination, random.below(GROUPS), values.slice(i, i + VALUES_A_PACK), brought, sizes);
  }
  await pause();
  const { moved } = await destination.heal([...packs.values()], brought, sizes);
  for (let i = 0; i < moved; i++) world.count('values healed');
  for (const { fingerprint } of lost) {
    const row = oracle.table.get(fingerprint);
    if (row && packs.has(row.location.pack.toString('hex')))
      throw new Violation(`${fingerprint.toString('hex')} was healed and lies where it was lost`);
  }
}

/** What is lost by this process's view, and a few values that are not. */
function prove({ losses, objects, random, key }: World, repository: Repository): readonly Found[] {
  const found: Found[] = [];
  let healthy = random.below(TOO_MANY + 1);
  for (const { fingerprint, location } of repository.table.rows()) {
    const isLost = losses.isLost(fingerprint.toString('hex'), location);
    if (!isLost && (healthy === 0 || !random.chance(0.2))) continue;
    const name = packNameOf(location.pack);
    const bytes = losses.pristine(name) ?? objects.byName.get(name);
    const kind = repository.table.pack(location.pack)?.kind;
    // By an old view, a pack that was swept since.
    if (bytes === undefined || kind === undefined) continue;
    const { offset, length } = location;
    const body = unsealBlob(bytes.subarray(offset, offset + length), offset, packKeyOf(key, name), fingerprint);
    if (!isLost) healthy--;
    found.push({ fingerprint, location, kind, body: { ...body, bytes: Buffer.from(body.bytes) } });
  }
  return found;
}

/** Heals all that is lost, under a claim of a lineage of its own that takes no snapshot. */
export async function healAll(world: World, repository: Repository): Promise<void> {
  const { losses, oracle } = world;
  const lineage = lineageOf(volumeName('healer'), 1);
  const claimed = await claimLineage(repository, { lineage, snapshot: world.newSnapshot(), owner: 'end', attempt: 1 });
  if (claimed.kind !== 'claimed') throw new Violation('a new lineage is said to have a snapshot');
  const { epoch } = claimed.claim;
  await healLost(world, repository, openDestination({ store: 'simulated', repository, lineage, epoch, codec: 'zstd-1', bringAll: false }));
  for (const { fingerprint, location } of oracle.table.rows())
    if (losses.isLost(fingerprint.toString('hex'), location))
      throw new Violation(`${fingerprint.toString('hex')} is lost after all was healed`);
  await abortClaim(repository, lineage, epoch);
}
