/**
 * The examination after a run: what a user was promised, and what the protocol promises, held against the stores themselves.
 *
 *     snapshots    as acknowledged; each live one restores bit for bit, from a cache that knew nothing
 *     counts       equal their recomputation; a fold from the beginning equals the one that went along
 *     leftovers    after two collections and a checkpoint no object is there that nothing refers to
 *     the end      the volume retired and all of it deleted, not a pack is left
 */
import { createHash } from 'node:crypto';
import { rmSync } from 'node:fs';
import path from 'node:path';
import type { StoreName } from '../../src/domain/ids.ts';
import { PIN_MS_DEFAULT } from '../../src/domain/limits.ts';
import { audit } from '../../src/engine/repository/audit.ts';
import { writeCheckpoint } from '../../src/engine/repository/checkpoint.ts';
import { newestOf } from '../../src/engine/repository/ledger.ts';
import { encodePackId, inverseNumber, parseClaimObject } from '../../src/engine/repository/object-names.ts';
import { hideSnapshot, lapsePins } from '../../src/engine/repository/pins.ts';
import type { Repository } from '../../src/engine/repository/repository.ts';
import { listAll } from '../../src/ground/stores/object-store.ts';
import type { Threads } from '../../src/ground/threads/threads.ts';
import { collectGarbage } from '../../src/systems/lifecycle/deletion.ts';
import { digestOfImage } from '../systems/image.ts';
import { restoreSnapshot } from '../systems/restore-snapshot.ts';
import type { Expectations } from './expectations.ts';
import { REPOSITORY, VOLUME } from './operations.ts';
import type { Script } from './script.ts';
import type { World } from './world.ts';

export interface Examined {
  readonly restores: number;
  readonly objects: number;
}

export async function examine(world: World, script: Script, expectations: Expectations, threads: Threads): Promise<Examined> {
  let restores = 0;
  let objects = 0;
  await using cold = await world.openHome('cache.cold');
  await using warm = await world.openHome('cache.first');
  for (const { name } of script.stores) {
    const repository = await cold.repository(name, REPOSITORY, true);
    // Of two attempts at once the one taken for dead may pin last; its pin lapses, and a lapse is nothing to wait a day for.
    if (script.steps.some(({ tasks }) => tasks.some((task) => task.doubled))) await lapsePins(repository, Date.now() + 2 * PIN_MS_DEFAULT);
    demandStates(repository, name, expectations, false);
    await demandCounts(repository, name);
    const along = await warm.repository(name, REPOSITORY, true);
    if (digestOfTable(along) !== digestOfTable(repository))
      throw new Error(`${name}: the fold that went along differs from the one from the log`);

    await collectGarbage(repository, 'examination');
    await writeCheckpoint(repository);
    await collectGarbage(repository, 'examination');
    demandStates(repository, name, expectations, true);
    await demandCounts(repository, name);
    objects += await demandNothingLeft(repository, name);
    for (const snapshot of repository.ledger().snapshots.values()) {
      if (snapshot.hidden) continue;
      const target = path.join(world.folder, `examined.${name}`);
      await restoreSnapshot(repository, threads, { volume: VOLUME, snapshot: snapshot.id, target, mode: 'overwrite' });
      if (digestOfImage(target) !== expectations.contentOf(snapshot.id))
        throw new Error(`${name}: ${snapshot.id} does not restore bit for bit`);
      rmSync(target);
      restores++;
    }
    await demandEmptied(repository, name);
    const bodies = world.bodiesOfTheDead(name);
    if (bodies.length > 0) throw new Error(`${name}: bodies of killed processes are left: ${bodies.join(', ')}`);
  }
  return { restores, objects };
}

/** Each snapshot is in the state that users were told; after a collection, what was hidden is gone unless it has to wait. */
function demandStates(repository: Repository, store: StoreName, expectations: Expectations, collected: boolean): void {
  const ledger = repository.ledger();
  const held = expectations.heldIn(store);
  for (const [id, expected] of held) {
    const there = ledger.snapshots.get(id);
    const found = there === undefined ? 'gone' : there.hidden ? 'hidden' : 'visible';
    const fits = expected.state === 'hidden' ? found !== 'visible' : found === expected.state;
    if (!fits) throw new Error(`${store}: ${id} is ${found}, and was acknowledged as ${expected.state}`);
    const waits = there !== undefined && newestOf(ledger, there.lineage) === id && !expected.purge;
    if (collected && found === 'hidden' && !waits) throw new Error(`${store}: ${id} is hidden and was not reclaimed`);
    if (expected.state === 'hidden' && found === 'gone' && !expected.reclaimable && !collected)
      throw new Error(`${store}: ${id} was reclaimed though nothing released it`);
  }
  for (const id of ledger.snapshots.keys()) if (!held.has(id)) throw new Error(`${store}: ${id} is there, and nobody was told`);
}

export async function demandCounts(repository: Repository, store: StoreName): Promise<void> {
  const problems = await audit(repository);
  if (problems.length > 0) throw new Error(`${store}: the audit finds ${JSON.stringify(problems.slice(0, 5))}`);
}

function digestOfTable(repository: Repository): string {
  const hash = createHash('sha256');
  const { table } = repository;
  for (const { fingerprint, runs, location } of table.rows())
    hash.update(fingerprint).update(`${runs} ${location.offset} ${location.length};`).update(location.pack);
  for (const pack of table.packs()) hash.update(pack.id).update(JSON.stringify([pack.blobs, pack.bytes, pack.liveBlobs, pack.liveBytes]));
  return hash.update(`${repository.ledger().n}`).digest('hex');
}

/** Lists the whole repository: every object is one that something refers to. Returns how many there are. */
export async function demandNothingLeft(repository: Repository, store: StoreName): Promise<number> {
  const ledger = repository.ledger();
  const left: string[] = [];
  const count = new Map<string, number>();
  // Parts from the older of the two checkpoints on may be somebody's work in progress.
  let oldest = 0;
  for await (const { name } of listAll(repository.store, 'checkpoint/')) oldest = inverseNumber(name);
  let objects = 0;
  for await (const { name } of listAll(repository.store, '')) {
    objects++;
    const folder = name.split('/')[0] ?? '';
    count.set(folder, (count.get(folder) ?? 0) + 1);
    const object = parseClaimObject(name);
    if (object?.kind === 'pack' && repository.table.pack(encodePackId(object)) === null) left.push(name);
    if (object?.kind === 'change' && !repository.table.holdsPart(name)) left.push(name);
    if (folder === 'checkpoint-part' && Number(name.split('/')[1]) < oldest) left.push(name);
    if (folder === 'probe') left.push(name);
  }
  if (left.length > 0) throw new Error(`${store}: ${left.length} objects are left that nothing refers to: ${left.slice(0, 5).join(', ')}`);
  const most: Readonly<Record<string, number>> = { keys: 1, checkpoint: 2, mirror: 3 };
  for (const [folder, limit] of Object.entries(most))
    if ((count.get(folder) ?? 0) > limit) throw new Error(`${store}: ${count.get(folder)} objects in ${folder}/`);
  if (count.get('log') !== ledger.n) throw new Error(`${store}: the log has ${ledger.n} records and ${count.get('log')} objects`);
  if (ledger.claims.size > 0) throw new Error(`${store}: a claim is open: ${[...ledger.claims.keys()].join(', ')}`);
  if (ledger.pins.size > 0) throw new Error(`${store}: a pin is left: ${[...ledger.pins.keys()].join(', ')}`);
  return objects;
}

/** Retires the lineage and deletes what is there: a miscount that no earlier check met leaves a row or a pack behind. */
export async function demandEmptied(repository: Repository, store: StoreName): Promise<void> {
  const ledger = await repository.sync();
  for (const lineage of [...ledger.order.keys()]) await repository.append(() => ({ kind: 'RETIRE', lineage }));
  for (const { id, version } of [...repository.ledger().snapshots.values()]) await hideSnapshot(repository, id, version, true);
  await collectGarbage(repository, 'examination');
  const { rows, packs } = repository.table.size();
  const left: string[] = [];
  for await (const { name } of listAll(repository.store, 'a/')) if (parseClaimObject(name)?.kind === 'pack') left.push(name);
  if (rows + packs + left.length > 0)
    throw new Error(`${store}: all was deleted, and ${rows} rows, ${packs} packs in use and ${left.length} in the store are left`);
}
