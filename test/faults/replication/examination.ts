/**
 * The examination of a run: what senders were told, and what the protocol promises, held against the receiver's store itself.
 *
 *     while it runs   what is visible has the source's root and size
 *     afterwards      each snapshot that was told committed restores bit for bit, from a cache that knew nothing; what was harmed
 *                     after it was proven is whole again where a session with proof `all` has been since
 *     the end         counts equal their recomputation; retired, collected and swept, not a pack, claim or file is left
 */
import { existsSync, readdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { volumeName } from '../../../src/domain/ids.ts';
import { writeCheckpoint } from '../../../src/engine/repository/checkpoint.ts';
import type { Repository } from '../../../src/engine/repository/repository.ts';
import { collectGarbage } from '../../../src/systems/lifecycle/deletion.ts';
import { digestOfImage } from '../../systems/image.ts';
import { restoreSnapshot } from '../../systems/restore-snapshot.ts';
import { demandCounts, demandEmptied, demandNothingLeft } from '../examination.ts';
import { Violation } from '../volumes/violation.ts';
import { bodiesOfTheDeadIn } from '../world.ts';
import type { Promises } from './promises.ts';
import { damageIn } from './reading.ts';
import type { Scene } from './run.ts';
import { idOf, PREFIX, THERE, VAULT, type Taken, type World } from './world.ts';

/** None is visible by half. */
export async function demandNoHalf(world: World, promises: Promises): Promise<void> {
  const vault = await world.vault();
  for (const there of [...vault.ledger().snapshots.values()]) {
    const taken = promises.known(there.id);
    if (taken === undefined) throw new Violation(`${there.id} is visible, and the source has none such`);
    if (there.root !== taken.snapshot.root || there.sizeBytes !== taken.snapshot.sizeBytes)
      throw new Violation(`${there.id} is visible with the root ${there.root}`);
  }
}

export async function examine({ world, promises, counts }: Scene): Promise<void> {
  await using cold = await world.openCold();
  const repository = await cold.repository(THERE, VAULT);
  await repository.sync();
  for (const taken of promises.committed.values()) counts.restores += await demandKept(world, promises, repository, taken);
  for (const id of repository.ledger().snapshots.keys())
    if (!promises.committed.has(id)) throw new Violation(`${id} is there, and nobody was told`);
  const files = readdirSync(path.join(world.receiver, 'sessions'));
  if (files.length > 0) throw new Violation(`files of sessions are left: ${files.join(', ')}`);

  // What was harmed comes back before the end, for what cannot be read cannot be reclaimed either.
  world.mend();
  await collectGarbage(repository, 'examination');
  await writeCheckpoint(repository);
  await collectGarbage(repository, 'examination');
  await demandCounts(repository, THERE);
  await demandNothingLeft(repository, THERE);
  await demandEmptied(repository, THERE);
  const root = path.join(world.receiver, 'stores', THERE);
  const bodies = existsSync(root) ? bodiesOfTheDeadIn(root) : [];
  if (bodies.length > 0) throw new Violation(`bodies of killed receivers are left: ${bodies.join(', ')}`);
}

/** How many were restored: 1 or 0. */
async function demandKept(world: World, promises: Promises, repository: Repository, taken: Taken): Promise<number> {
  const id = idOf(taken);
  const there = repository.ledger().snapshots.get(id);
  if (there === undefined || there.hidden) {
    if (!promises.isHidden(id)) throw new Violation(`${id} of ${taken.volume} was told committed, and is ${there ? 'hidden' : 'gone'}`);
    return 0;
  }
  if (there.root !== taken.snapshot.root) throw new Violation(`${id} has the root ${there.root}`);
  if (promises.isHarmed && !promises.healed.includes(taken)) {
    const damage = await damageIn(repository, there, world.threads);
    if (damage === 'no map') return 0;
    const lost = await world.lostNames();
    for (const name of damage) {
      if (!lost.has(name)) throw new Violation(`${id}: ${name} cannot be read, and was not in what was harmed`);
      const healer = promises.healed.find(({ names }) => names.has(name));
      if (healer !== undefined)
        throw new Violation(`${id}: ${name} cannot be read, and ${idOf(healer)}, which has it, was sent with proof all`);
    }
    if (damage.length > 0) return 0;
  }
  const target = path.join(world.receiver, `restored.${id}`);
  const volume = volumeName(`${PREFIX}${taken.volume}`);
  await restoreSnapshot(repository, world.threads, { volume, snapshot: there.id, target, mode: 'overwrite' });
  if (digestOfImage(target) !== taken.digest) throw new Violation(`${id} of ${taken.volume} does not restore bit for bit`);
  rmSync(target);
  return 1;
}
