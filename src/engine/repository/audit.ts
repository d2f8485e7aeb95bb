/**
 * The audit: what the counts should be, recomputed from the maps alone, held against the table and the store.
 *
 * It shares nothing with the incremental path: it walks every live snapshot of every lineage in log order and counts where
 * a value begins. Problems are collected, never thrown, so that one damaged object does not hide the next.
 */
import { HoldfastError } from '../../domain/errors.ts';
import { listAll } from '../../ground/stores/object-store.ts';
import { isAbsent } from '../map/node.ts';
import { diffMaps, mapRoot, type MapRoot } from '../map/walk.ts';
import { packNameOf, parseClaimObject } from './object-names.ts';
import type { Repository } from './repository.ts';

export interface AuditProblem {
  readonly what: 'runs differ' | 'row without use' | 'pack missing' | 'pack size differs' | 'pack use differs' | 'unreadable node';
  readonly object: string;
  readonly expected: number;
  readonly found: number;
}

export async function audit(repository: Repository): Promise<readonly AuditProblem[]> {
  const problems: AuditProblem[] = [];
  const expected = await recount(repository, problems);
  const uses = new Map<string, { blobs: number; bytes: number }>();
  for (const row of repository.table.rows()) {
    const key = row.fingerprint.toString('hex');
    const runs = expected.get(key) ?? 0;
    if (runs === 0) problems.push({ what: 'row without use', object: key, expected: 0, found: row.runs });
    else if (runs !== row.runs) problems.push({ what: 'runs differ', object: key, expected: runs, found: row.runs });
    expected.delete(key);
    const pack = row.location.pack.toString('hex');
    const use = uses.get(pack) ?? { blobs: 0, bytes: 0 };
    uses.set(pack, { blobs: use.blobs + 1, bytes: use.bytes + row.location.length });
  }
  for (const [key, runs] of expected) problems.push({ what: 'runs differ', object: key, expected: runs, found: 0 });
  await auditPacks(repository, uses, problems);
  return problems;
}

async function recount(repository: Repository, problems: AuditProblem[]): Promise<Map<string, number>> {
  const ledger = repository.ledger();
  const runs = new Map<string, number>();
  for (const ids of ledger.order.values()) {
    let before: MapRoot = mapRoot(null, null);
    for (const id of ids) {
      const snapshot = ledger.snapshots.get(id);
      if (!snapshot) continue;
      const after = mapRoot(snapshot.root, snapshot.rootLocation);
      try {
        for await (const change of diffMaps(before, after, repository.readNode, repository.readNode)) {
          if (isAbsent(change.new)) continue;
          const key = change.new.toString('hex');
          runs.set(key, (runs.get(key) ?? 0) + 1);
        }
      } catch (error) {
        if (!(error instanceof HoldfastError)) throw error;
        problems.push({ what: 'unreadable node', object: id, expected: 1, found: 0 });
      }
      before = after;
    }
  }
  return runs;
}

async function auditPacks(
  repository: Repository,
  uses: ReadonlyMap<string, { readonly blobs: number; readonly bytes: number }>,
  problems: AuditProblem[],
): Promise<void> {
  const stored = new Map<string, number>();
  for await (const { name, sizeBytes } of listAll(repository.store, 'a/'))
    if (parseClaimObject(name)?.kind === 'pack') stored.set(name, sizeBytes);
  for (const pack of repository.table.packs()) {
    const name = packNameOf(pack.id);
    const size = stored.get(name);
    if (size === undefined) problems.push({ what: 'pack missing', object: name, expected: pack.bytes, found: 0 });
    else if (size !== pack.bytes) problems.push({ what: 'pack size differs', object: name, expected: pack.bytes, found: size });
    const use = uses.get(pack.id.toString('hex')) ?? { blobs: 0, bytes: 0 };
    if (use.blobs !== pack.liveBlobs || use.bytes !== pack.liveBytes)
      problems.push({ what: 'pack use differs', object: name, expected: use.bytes, found: pack.liveBytes });
  }
}
