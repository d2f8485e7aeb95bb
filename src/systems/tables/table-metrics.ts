/** What the archivers of a process tell Prometheus: how far each table is, and what came of what it read. */
import { Counter, Gauge, type Registry } from 'prom-client';
import type { TableArchive } from '../../engine/tables/archive/archive.ts';
import { windowOf } from '../../engine/tables/past-state/window.ts';
import { NO_ARCHIVING, type ArchivingFigures } from './archiving/figures.ts';
import type { TableEvent } from './running.ts';

export interface TableMetrics {
  note(event: TableEvent): void;
  /** The archive of a table that is being written, until it is disposed of. */
  follow(table: string, archive: TableArchive): Disposable;
}

const labelNames = ['table'] as const;

export function createTableMetrics(registry: Registry, nowMs: () => number = Date.now): TableMetrics {
  const registers = [registry];
  const archives = new Map<string, TableArchive>();
  const last = new Map<string, ArchivingFigures>();
  const counter = (name: string, help: string) => new Counter({ name, help, labelNames, registers });
  const records = counter('holdfast_table_records_total', 'Records that were archived');
  const bytes = counter('holdfast_table_bytes_total', 'Bytes of the keys and values that were archived');
  const batches = counter('holdfast_table_batches_total', 'Batches that were put');
  const quarantined = counter('holdfast_table_quarantined_total', 'Records that say nothing that can be understood');
  const late = counter('holdfast_table_late_total', 'Events that were sent again or came out of order');
  const interruptions = counter('holdfast_table_interruptions_total', 'Times that Kafka or the store did not answer');
  const missing = new Counter({
    name: 'holdfast_table_missing_offsets_total',
    help: 'Offsets that a topic no longer had: lost, compacted, or marks of its transactions',
    ...{ labelNames: ['table', 'kind'], registers },
  });
  const gauge = (name: string, help: string, of: (archive: TableArchive) => number | null): void =>
    void new Gauge({
      ...{ name, help, labelNames, registers },
      collect() {
        this.reset();
        for (const [table, archive] of archives) {
          const value = of(archive);
          if (value !== null) this.set({ table }, value);
        }
      },
    });
  const latestUs = (archive: TableArchive): number | null => windowOf(archive.known()).latestUs;
  gauge('holdfast_table_latest_seconds', 'The latest time of which a past state can be had', (archive) => {
    const us = latestUs(archive);
    return us === null ? null : us / 1e6;
  });
  gauge('holdfast_table_lag_seconds', 'How far that time lies behind the clock; it grows, too, while the source is idle', (archive) => {
    const us = latestUs(archive);
    return us === null ? null : nowMs() / 1000 - us / 1e6;
  });
  gauge('holdfast_table_partitions', 'Partitions of its topics', (archive) => archive.known().partitions.size);

  const count = (table: string, now: ArchivingFigures): void => {
    const before = last.get(table) ?? NO_ARCHIVING;
    // A round of its own begins with nothing.
    const since = now.batches < before.batches ? NO_ARCHIVING : before;
    last.set(table, now);
    records.inc({ table }, now.records - since.records);
    bytes.inc({ table }, now.bytes - since.bytes);
    batches.inc({ table }, now.batches - since.batches);
    quarantined.inc({ table }, now.quarantined - since.quarantined);
    late.inc({ table }, now.late - since.late);
    for (const kind of ['lost', 'compacted', 'control'] as const) missing.inc({ table, kind }, now.missing[kind] - since.missing[kind]);
  };

  return {
    note(event) {
      if (event.kind === 'put') count(event.table, event.figures);
      else if (event.kind === 'interrupted') interruptions.inc({ table: event.table });
    },
    follow(table, archive) {
      archives.set(table, archive);
      last.delete(table);
      return { [Symbol.dispose]: () => void (archives.get(table) === archive && archives.delete(table)) };
    },
  };
}
