/**
 * The fold of records: every entry judged on the state after the one before it, admissible ones applied to ledger and
 * table, inadmissible ones void and reported. The change objects that the entries name are read first, so that the
 * records are applied as a whole or, when one does not fit, not at all: the caller's ledger is left as it was.
 */
import type { StoredRecord } from '../log/log.ts';
import { isAbsent } from '../map/node.ts';
import type { ChangePart } from './change.ts';
import type { Entry } from './entries.ts';
import { applyEntry, cloneLedger, judge, type Ledger } from './ledger.ts';
import type { Table, TableWriter } from './table.ts';

/** The parts of a change, root part last so that it is met after what it names; read one at a time. */
export type ChangeReader = (root: string) => Iterable<ChangePart & { readonly name: string }>;

export interface FoldResult {
  readonly ledger: Ledger;
  /** Entries that the rules void: there should be none, and an operator wants to know. */
  readonly voided: readonly { readonly entry: Entry; readonly reason: string }[];
  /** Packs that lost their last live value. */
  readonly emptied: readonly Buffer[];
}

export function foldRecords(before: Ledger, table: Table, records: readonly StoredRecord<Entry>[], changes: ChangeReader): FoldResult {
  const ledger = cloneLedger(before);
  const voided: { readonly entry: Entry; readonly reason: string }[] = [];
  const emptied = table.write(
    before.n,
    (writer) => {
      for (const record of records) {
        for (const entry of record.entries) {
          const reason = judge(ledger, entry)?.reason ?? unfounded(table, entry, changes);
          if (reason !== null) {
            voided.push({ entry, reason });
            continue;
          }
          applyToTable(ledger, writer, entry, changes);
          applyEntry(ledger, entry, record.seq);
        }
        ledger.n = record.seq;
        ledger.head = record.digest;
      }
    },
    ledger,
  );
  return { ledger, voided, emptied };
}

/** A COMMIT that uses a value which is neither counted nor brought: no writer of ours puts one. */
function unfounded(table: Table, entry: Entry, changes: ChangeReader): string | null {
  if (entry.kind !== 'COMMIT') return null;
  const brought = new Set<string>();
  for (const part of changes(entry.change.name)) {
    for (const value of part.values) brought.add(value.fingerprint.toString('hex'));
    const lacking = part.diff.find((row) => !isAbsent(row.new) && !brought.has(row.new.toString('hex')) && table.get(row.new) === null);
    if (lacking) return `it uses ${lacking.new.toString('hex')}, which is neither brought nor counted`;
  }
  return null;
}

function applyToTable(ledger: Ledger, writer: TableWriter, entry: Entry, changes: ChangeReader): void {
  switch (entry.kind) {
    case 'COMMIT': {
      const names: string[] = [];
      for (const part of changes(entry.change.name)) {
        names.push(part.name);
        commitPart(writer, part);
      }
      const first = !ledger.order.has(entry.lineage);
      if (!first) writer.holdParts(entry.change.name, names);
      return;
    }
    case 'RECLAIM': {
      const names: string[] = [];
      for (const part of changes(entry.change.name)) {
        names.push(part.name);
        for (const row of part.minus) writer.subtract(row.fingerprint, row.runs);
      }
      const gone = ledger.snapshots.get(entry.snapshot)?.diff;
      const next = entry.next === null ? undefined : ledger.snapshots.get(entry.next)?.diff;
      if (gone) writer.dropParts(gone.name);
      if (next) writer.dropParts(next.name);
      if (entry.next !== null && entry.previous !== null) writer.holdParts(entry.change.name, names);
      return;
    }
    case 'REPLACE':
    case 'HEAL': {
      const from = new Set(entry.from);
      for (const part of changes(entry.change.name)) {
        writer.addPacks(part.packs);
        for (const value of part.values) writer.move(value.fingerprint, from, value.location);
      }
      return;
    }
    default:
      return;
  }
}

/** Counts a part's new values: one run for each position; a value unknown to the table lies where the part brought it. */
function commitPart(writer: TableWriter, part: ChangePart): void {
  writer.addPacks(part.packs);
  const brought = new Map(part.values.map((value) => [value.fingerprint.toString('hex'), value.location]));
  const runs = new Map<string, number>();
  for (const row of part.diff) {
    if (isAbsent(row.new)) continue;
    const key = row.new.toString('hex');
    runs.set(key, (runs.get(key) ?? 0) + 1);
  }
  for (const [key, count] of runs) writer.add(Buffer.from(key, 'hex'), count, brought.get(key) ?? null);
}
