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
import { listAll } from '../../ground/stores/object-store.ts';
import { newestCheckpoint, type Checkpoint } from './checkpoint.ts';
import { isClosed, type Ledger } from './ledger.ts';
import { decodePackId, encodePackId, packNameOf, parseClaimObject } from './object-names.ts';
import type { Repository } from './repository.ts';
import type { Table } from './table.ts';

export interface SweepPlan {
  readonly names: readonly string[];
  readonly bytes: number;
}

const BATCH = 1000;

export function mayDelete(name: string, ledger: Ledger, table: Table, checkpoint: Checkpoint | null): boolean {
  const object = parseClaimObject(name);
  if (object === null) return false;
  if (object.kind === 'pack') return isClosed(ledger, object.claim) && table.pack(encodePackId(object)) === null;
  const settled = checkpoint !== null && object.claim <= checkpoint.n && !checkpoint.openClaims.includes(object.claim);
  return settled && isClosed(ledger, object.claim) && !table.holdsPart(name);
}

/** What a full sweep would delete, page by page, from the repository's view as it is. */
export async function* planSweep(repository: Repository): AsyncGenerator<SweepPlan> {
  const checkpoint = await newestCheckpoint(repository.store, repository.key);
  let names: string[] = [];
  let bytes = 0;
  for await (const { name, sizeBytes } of listAll(repository.store, 'a/')) {
    if (!mayDelete(name, repository.ledger(), repository.table, checkpoint)) continue;
    names.push(name);
    bytes += sizeBytes;
    if (names.length < BATCH) continue;
    yield { names, bytes };
    names = [];
    bytes = 0;
  }
  if (names.length > 0) yield { names, bytes };
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
  const ledger = repository.ledger();
  const doomed = repository
    .takeEmptied()
    .filter((id) => isClosed(ledger, decodePackId(id).claim) && repository.table.pack(id) === null)
    .map(packNameOf);
  for (let i = 0; i < doomed.length; i += BATCH) await repository.store.delete(doomed.slice(i, i + BATCH));
  return doomed.length;
}
