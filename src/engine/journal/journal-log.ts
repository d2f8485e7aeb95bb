/**
 * The journal's log, open: the one arbiter of epochs, bases, floor and pins (docs/journal.md, section 7).
 *
 * Records are judged after n and put as n + 1, and whoever loses that race plans anew (J8): `append` takes a plan, not an entry, so
 * that an OPEN is worked out again on the state that won, with another look at the regions.
 */
import type { SealingKey } from '../../ground/sealing/envelope.ts';
import type { ObjectStore } from '../../ground/stores/object-store.ts';
import { createFoldedLog, type FoldedLog } from '../log/folded-log.ts';
import { createLog } from '../log/log.ts';
import type { Environment } from '../repository/environment.ts';
import { logName } from '../repository/object-names.ts';
import { JOURNAL_ENTRY_KINDS, journalEntrySchema, type JournalEntry } from './entries.ts';
import { applyEntry, EMPTY_JOURNAL, refusalOf, type JournalState } from './state.ts';

export type JournalLog = FoldedLog<JournalState, JournalEntry>;

export interface JournalLogOptions {
  /** The log store, below `journals/<name>/`. */
  readonly store: ObjectStore;
  readonly key: SealingKey;
  readonly environment: Environment;
}

export function openJournalLog({ store, key, environment }: JournalLogOptions): JournalLog {
  const log = createLog<JournalEntry>({
    store,
    sealing: key,
    nameOf: logName,
    entrySchema: journalEntrySchema,
    kinds: JOURNAL_ENTRY_KINDS,
    random: environment.random,
  });
  return createFoldedLog(log, { of: 'the journal', empty: EMPTY_JOURNAL, refusal: refusalOf, apply: applyEntry }, environment);
}
