/**
 * Sweeping: the one deletion rule (R4). An object goes when its claim is closed and the fold needs nothing in it.
 *
 *     pack          its claim is closed, and no row points into it
 *     change part   its claim was closed at the newest checkpoint already, and no live diff names it
 *
 * True once is true for ever, so a sweep may run anywhere, twice at once, from a view of any age: a claim that the view has
 * not reached counts as open. Nobody deletes by any other rule, not even what he has just written himself.
 *
 * A plan is computed first and can be printed. The quick sweep takes the packs that records are known to have emptied; the
 * full one lists everything below `a/`.
 */
import { HoldfastError } from '../../domain/errors.ts';
import { listAll, type ObjectInfo, type ObjectStore } from '../../ground/stores/object-store.ts';
import { newestCheckpoint, type Checkpoint } from './checkpoint.ts';
import { isClosed, type Ledger } from './ledger.ts';
import { encodePackId, packNameOf, parseClaimObject } from './object-names.ts';
import type { Repository } from './repository.ts';
import type { Table } from './table.ts';

export interface SweepPlan {
  readonly names: readonly string[];
  readonly bytes: number;
}

const BATCH = 1000;

function mayDelete(name: string, ledger: Ledger, table: Table, checkpoint: Checkpoint | null): boolean {
  const object = parseClaimObject(name);
  if (object === null) return false;
  if (object.kind === 'pack') return isClosed(ledger, object.claim) && table.pack(encodePackId(object)) === null;
  const settled = checkpoint !== null && object.claim <= checkpoint.n && !checkpoint.openClaims.includes(object.claim);
  return settled && isClosed(ledger, object.claim) && !table.holdsPart(name);
}

/**
 * What of these may go. A table that stands before the ledger (a shared cache that another process builds anew) lacks rows
 * that the ledger's n has, and a live pack would look dead: then nothing may.
 */
function doomed(repository: Repository, objects: readonly ObjectInfo[], checkpoint: Checkpoint | null): readonly ObjectInfo[] {
  const ledger = repository.ledger();
  const behind = (): boolean => (repository.table.stamp() ?? ledger.n) < ledger.n;
  const before = behind();
  const found = objects.filter(({ name }) => mayDelete(name, ledger, repository.table, checkpoint));
  if (before || behind()) throw new HoldfastError('CONTENTION', 'the cache is being built anew by another process', { n: ledger.n });
  return found;
}

/** What a full sweep would delete, page by page, from the repository's view as it is. */
export async function* planSweep(repository: Repository): AsyncGenerator<SweepPlan> {
  const checkpoint = await newestCheckpoint(repository.store, repository.key);
  for await (const page of listPages(repository.store, 'a/')) {
    const found = doomed(repository, page, checkpoint);
    if (found.length > 0) yield { names: found.map(({ name }) => name), bytes: found.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0) };
  }
}

/** Pages of at most BATCH objects. */
async function* listPages(store: ObjectStore, prefix: string): AsyncGenerator<readonly ObjectInfo[]> {
  let page: ObjectInfo[] = [];
  for await (const object of listAll(store, prefix)) {
    page.push(object);
    if (page.length < BATCH) continue;
    yield page;
    page = [];
  }
  if (page.length > 0) yield page;
}

export async function sweep(repository: Repository): Promise<{ readonly objects: number; readonly bytes: number }> {
  let objects = 0;
  let bytes = 0;
  for await (const plan of planSweep(repository)) {
    await repository.store.delete(plan.names);
    objects += plan.names.length;
    bytes += plan.bytes;
  }
  return { objects, bytes };
}

/** Deletes packs that records folded here are known to have emptied. What it misses the full sweep finds. */
export async function sweepEmptied(repository: Repository): Promise<number> {
  const emptied = repository.takeEmptied().map((id) => ({ name: packNameOf(id), sizeBytes: 0 }));
  const names = doomed(repository, emptied, null).map(({ name }) => name);
  for (let i = 0; i < names.length; i += BATCH) await repository.store.delete(names.slice(i, i + BATCH));
  return names.length;
}
