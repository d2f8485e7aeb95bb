/**
 * A table archive, open: its log folded, its store and key at hand. What stands above it (writer, snapshots, past states)
 * takes this and adds nothing to it.
 */
import { HoldfastError } from '../../../domain/errors.ts';
import { TABLE_CHECKPOINT_RECORDS } from '../../../domain/limits.ts';
import type { SealingKey } from '../../../ground/sealing/envelope.ts';
import type { ObjectStore } from '../../../ground/stores/object-store.ts';
import { createCheckpoints } from '../../log/checkpoints.ts';
import { createFoldedLog, type FoldedLog } from '../../log/folded-log.ts';
import { createLog } from '../../log/log.ts';
import type { Environment } from '../../repository/environment.ts';
import { logName } from '../../repository/object-names.ts';
import { TABLE_ENTRY_KINDS, tableEntrySchema, type TableEntry, type TableForm } from './entries.ts';
import { applyEntry, EMPTY_TABLE, refusalOf, type TableState } from './state.ts';
import { decodeTableState, encodeTableState } from './state-lines.ts';

export interface TableArchive extends FoldedLog<TableState, TableEntry> {
  readonly store: ObjectStore;
  readonly key: SealingKey;
  readonly environment: Environment;
  /** Writes a checkpoint of what is known, if one is due. Whoever archives asks for it after its batches. Returns its n, or null. */
  checkpoint(): Promise<number | null>;
}

const NAME = 'the table archive';

export interface TableArchiveOptions {
  /** The store, below `tables/<name>/`. */
  readonly store: ObjectStore;
  readonly key: SealingKey;
  readonly environment: Environment;
  /** A checkpoint is due after this many records. */
  readonly checkpointRecords?: number;
}

export function openTableArchive(options: TableArchiveOptions): TableArchive {
  const { store, key, environment, checkpointRecords = TABLE_CHECKPOINT_RECORDS } = options;
  const log = createLog<TableEntry>({
    store,
    sealing: key,
    nameOf: logName,
    entrySchema: tableEntrySchema,
    kinds: TABLE_ENTRY_KINDS,
    random: environment.random,
  });
  const checkpoints = createCheckpoints<TableState>({
    store,
    key,
    environment,
    of: NAME,
    state: { encode: encodeTableState, decode: decodeTableState },
    everyRecords: checkpointRecords,
  });
  const folded = createFoldedLog<TableState, TableEntry>(
    log,
    {
      of: NAME,
      begin: checkpoints.begin,
      empty: EMPTY_TABLE,
      refusal: refusalOf,
      apply: (state, entry, { seq }) => applyEntry(state, entry, seq),
    },
    environment,
  );
  return { store, key, environment, ...folded, checkpoint: () => checkpoints.writeIfDue(folded.known()) };
}

/** Gives an archive its form, or finds that it has just that one. */
export async function ensureForm(archive: TableArchive, form: TableForm): Promise<void> {
  await archive.append((state) => {
    if (state.form === null) return { kind: 'TABLE', form };
    if (JSON.stringify(state.form) === JSON.stringify(form)) return null;
    throw new HoldfastError('RECORD_REFUSED', 'the archive has another form', { form: state.form.form });
  });
}

/** Takes a role over; what the claim before had under way comes to nothing. Returns the epoch. */
export async function claimRole(archive: TableArchive, role: 'archive' | 'snapshots'): Promise<number> {
  const epoch = await archive.append(() => ({ kind: 'CLAIM', role, owner: archive.environment.writer }));
  if (epoch === null) throw new HoldfastError('INTERNAL', 'a claim found nothing to do');
  return epoch;
}

/** Makes partitions known; LATEST waits for each of them from then on. */
export async function addPartitions(archive: TableArchive, ids: readonly string[]): Promise<void> {
  await archive.append((state) => {
    const add = ids.filter((id) => !state.partitions.has(id));
    return add.length === 0 ? null : { kind: 'PARTITIONS', add };
  });
}
