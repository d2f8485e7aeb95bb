/**
 * Salvage: a repository whose log, changes or checkpoints are damaged, opened to be read all the same.
 *
 * What a restore needs is less than what a writer needs: the COMMIT records, the maps, and the packs, which say by their
 * own directories what they hold. So the ledger is folded from every record that opens, and where a locator fails the index
 * is made from the directories of all packs. Nothing can be written: a fold with holes decides nothing. Corrupt data stops
 * what needs it, and nothing else.
 */
import { HoldfastError, isHoldfastError } from '../../domain/errors.ts';
import { listAll } from '../../ground/stores/object-store.ts';
import { createChangeStore } from './change-io.ts';
import { readDirectory } from './destination.ts';
import { openLog } from './follower.ts';
import { applyEntry, emptyLedger, judge, type Ledger } from './ledger.ts';
import type { Location } from './location.ts';
import { createNodeCaches } from './node-cache.ts';
import { createMemoryTable } from './memory-table.ts';
import { encodePackId, parseClaimObject } from './object-names.ts';
import type { Repository, RepositoryParts } from './repository.ts';
import { createValueReader } from './value-reader.ts';

/** Damage that a reader can work around; anything else (no answer, no right) is not salvage's business. */
export const isSalvageable = (error: unknown): error is HoldfastError =>
  isHoldfastError(error, 'DAMAGED', 'OBJECT_MISSING', 'RECORD_INVALID');

export async function openSalvage(parts: RepositoryParts, damage: HoldfastError): Promise<Repository> {
  const { store, key, environment } = parts;
  environment.alarm('the repository is damaged and opened for reading only', {
    code: damage.code,
    object: String(damage.details['object'] ?? ''),
  });
  const ledger = await salvageLedger(parts);
  const table = createMemoryTable();
  let indexed: Promise<void> | null = null;
  const relook = (): Promise<void> => (indexed ??= indexPacks(parts, table));
  const locate = (fingerprint: Buffer): Location | null => table.get(fingerprint)?.location ?? null;
  const values = createValueReader({ store, key, locate, refresh: relook, nodes: parts.nodes ?? createNodeCaches()() });
  return {
    ...{ store, key, table, environment, values, locate, relook, readNode: values.readNode },
    changes: createChangeStore(store, key, environment.random),
    sync: () => Promise.resolve(ledger),
    ledger: () => ledger,
    async append(plan) {
      const entry = await plan(ledger);
      // A pin protects from a collector, and no collector can write here either.
      if (entry === null || entry.kind === 'PIN' || entry.kind === 'UNPIN') return null;
      throw new HoldfastError(damage.code, `the repository can only be read: ${damage.message}`, damage.details, damage);
    },
    standsAt: () => true,
    takeEmptied: () => [],
  };
}

/** Folds every record that opens. A COMMIT counts even where the record of its claim does not open. */
async function salvageLedger({ store, key, environment }: RepositoryParts): Promise<Ledger> {
  const log = openLog(store, key, environment.random);
  const ledger = emptyLedger();
  for await (const { name } of listAll(store, 'log/')) {
    const seq = Number(name.slice('log/'.length));
    try {
      const record = await log.read(seq);
      if (record === null) continue;
      for (const entry of record.entries)
        if (judge(ledger, entry) === null || (entry.kind === 'COMMIT' && !ledger.used.has(entry.snapshot))) applyEntry(ledger, entry, seq);
      ledger.n = seq;
      ledger.head = record.digest;
    } catch (error) {
      if (!isSalvageable(error)) throw error;
      environment.alarm('a log record does not open and is passed over', { object: name });
    }
  }
  return ledger;
}

/** Fills the table from the packs' own directories: where each value lies, one copy of it. */
async function indexPacks(parts: RepositoryParts, table: ReturnType<typeof createMemoryTable>): Promise<void> {
  for await (const { name, sizeBytes } of listAll(parts.store, 'a/')) {
    const object = parseClaimObject(name);
    if (object?.kind !== 'pack') continue;
    try {
      const id = encodePackId(object);
      const entries = await readDirectory(parts, name, sizeBytes);
      if (entries === null) continue;
      table.write(
        0,
        (writer) => {
          writer.addPacks([{ id, kind: 'extent', blobs: entries.length, bytes: sizeBytes }]);
          for (const { fingerprint, offset, length } of entries) writer.add(fingerprint, 1, { pack: id, offset, length });
        },
        emptyLedger(),
      );
    } catch (error) {
      if (!isSalvageable(error)) throw error;
      parts.environment.alarm('a pack does not open and is passed over', { object: name });
    }
  }
}
