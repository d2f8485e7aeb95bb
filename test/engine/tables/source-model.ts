/**
 * A database, a Debezium connector and a topic in one small model, by the dice of a seed: what a source does to an archive.
 *
 * Transactions over a few keys (inserts, updates that leave a large column out, deletes, key changes, truncates), stamps that sometimes step
 * back or stand still, log numbers that interleave; an initial snapshot or none, incremental ones, tombstones or none, a connector that
 * restarts and sends again, and a topic that is given more partitions, or whose keys are spread over fewer. The model remembers what the table really was
 * after each commit, which is what a past state is held against.
 */
import type { TableRecord } from '../../../src/engine/tables/events/event.ts';

export type Random = () => number;
/** Column -> JSON text. */
export type ModelRow = ReadonlyMap<string, string>;
/** Canonical key -> row. */
export type ModelTable = ReadonlyMap<string, ModelRow>;

export interface Commit {
  readonly transaction: number;
  /** Places of its events, ascending: last commit before it, own. */
  readonly places: readonly (readonly [major: number, minor: number])[];
  readonly stampUs: number;
  readonly after: ModelTable;
  readonly records: readonly Sent[];
}
interface Sent {
  readonly key: string | null;
  readonly value: string | null;
}

export interface Source {
  /** Records by partition, offsets ascending from 0. */
  readonly topic: readonly (readonly TableRecord[])[];
  readonly commits: readonly Commit[];
  commit(): void;
  /** The connector starts again a few transactions back. */
  resend(): void;
  incrementalSnapshot(): void;
  addPartition(): void;
  /** Keys are spread over another number of the partitions from now on: fewer, or more again. Whoever archives has to be told. */
  spreadAnew(): void;
  /** The table after the longest beginning of the log with no stamp above T. */
  tableAt(timeUs: number): ModelTable;
  /** The highest stamp so far. */
  latestUs(): number;
}

const START_US = 1_700_000_000_000_000;
const PLACEHOLDER = '"__debezium_unavailable_value"';
const keyText = (id: number): string => `{"id":${id}}`;

export function createSource(random: Random, options: { readonly keys: number; readonly partitions: number }): Source {
  const dice = (sides: number): number => Math.floor(random() * sides);
  const chance = (share: number): boolean => random() < share;
  const topic: TableRecord[][] = Array.from({ length: options.partitions }, () => []);
  const commits: Commit[] = [];
  const tombstones = chance(0.7);
  let table = new Map<string, ModelRow>();
  let stampUs = START_US;
  let lastCommit = 1000;
  let transaction = 500;
  let altered = false;
  let written = options.partitions;

  const emit = ({ key, value }: Sent): void => {
    // A truncate has no key and may come through any partition.
    const at = key === null ? dice(topic.length) : (Number(/[0-9]+/.exec(key)?.[0]) * 7919) % written;
    const partition = topic[at]!;
    partition.push({
      offset: partition.length,
      timeMs: START_US / 1000,
      key: key === null ? null : Buffer.from(key),
      value: value === null ? null : Buffer.from(value),
    });
  };

  const envelope = (op: string, after: ModelRow | null, lsn: number, extra: Record<string, unknown> = {}): string => {
    const source = {
      connector: 'postgresql',
      ts_us: stampUs,
      ts_ms: Math.floor(stampUs / 1000),
      snapshot: 'false',
      sequence: `["${lastCommit}","${lsn}"]`,
      txId: transaction,
      lsn,
      ...extra,
    };
    const row = after === null ? 'null' : `{${[...after].map(([name, text]) => `"${name}":${text}`).join(',')}}`;
    return `{"before":null,"after":${row},"source":${JSON.stringify(source)},"op":"${op}"}`;
  };

  const freshRow = (id: number): Map<string, string> => {
    const row = new Map([
      ['id', String(id)],
      ['v', chance(0.1) ? 'null' : String(dice(1000))],
      ['note', JSON.stringify(`note ${dice(1000)} "é"`)],
    ]);
    if (altered) row.set('Id', JSON.stringify(`added ${dice(10)}`));
    return row;
  };

  const deletion = (id: number, lsn: number): Sent[] => [
    { key: keyText(id), value: envelope('d', null, lsn) },
    ...(tombstones ? [{ key: keyText(id), value: null }] : []),
  ];

  const update = (id: number, old: ModelRow, lsn: number): Sent[] => {
    const after = freshRow(id);
    const sent = new Map(after);
    if (chance(0.5)) {
      after.set('note', old.get('note') ?? '""');
      sent.set('note', PLACEHOLDER);
    }
    table.set(keyText(id), after);
    return [{ key: keyText(id), value: envelope('u', sent, lsn) }];
  };

  const changeKey = (id: number, lsn: number): Sent[] => {
    const free = Array.from({ length: options.keys }, (_, i) => i).filter((other) => !table.has(keyText(other)));
    const to = free[dice(free.length)];
    if (to === undefined) return [];
    const moved = new Map(table.get(keyText(id))).set('id', String(to));
    table.delete(keyText(id));
    table.set(keyText(to), moved);
    return [...deletion(id, lsn), { key: keyText(to), value: envelope('c', moved, lsn) }];
  };

  const oneChange = (lsn: number): Sent[] => {
    const id = dice(options.keys);
    const old = table.get(keyText(id));
    if (chance(0.02)) {
      table.clear();
      return [{ key: null, value: envelope('t', null, lsn) }];
    }
    if (old === undefined) {
      const row = freshRow(id);
      table.set(keyText(id), row);
      return [{ key: keyText(id), value: envelope('c', row, lsn) }];
    }
    const what = random();
    if (what < 0.6) return update(id, old, lsn);
    if (what < 0.75) return changeKey(id, lsn);
    table.delete(keyText(id));
    return deletion(id, lsn);
  };

  const initialSnapshot = (): void => {
    for (let id = 0; id < options.keys; id++) if (chance(0.6)) table.set(keyText(id), freshRow(id));
    // Begun, broken off, begun again: rows come twice.
    for (const times of [chance(0.3) ? 0.5 : 0, 1])
      for (const [key, row] of table)
        if (chance(times))
          emit({ key, value: envelope('r', row, 900, { snapshot: chance(0.5) ? 'true' : true, ts_us: START_US - dice(50) }) });
    commits.push({ transaction: 0, places: [], stampUs: START_US - 50, after: new Map(table), records: [] });
  };
  if (chance(0.6)) initialSnapshot();

  return {
    topic,
    commits,
    commit() {
      stampUs = Math.max(START_US, stampUs + (chance(0.06) ? -dice(3000) : dice(4) * dice(700)));
      transaction++;
      altered ||= chance(0.02);
      table = new Map(table);
      // Concurrent transactions: this one may have written before the last one committed.
      let lsn = lastCommit + 8 - (chance(0.3) ? dice(25) * 8 : 0);
      const records: Sent[] = [];
      const places: [number, number][] = [];
      for (let changes = 1 + dice(4); changes > 0; changes--) {
        const sent = oneChange((lsn += 24));
        records.push(...sent);
        if (sent.length > 0) places.push([lastCommit, lsn]);
      }
      records.forEach(emit);
      lastCommit = Math.max(lastCommit, lsn) + 8;
      commits.push({ transaction, places, stampUs, after: new Map(table), records });
    },
    resend() {
      for (const { records } of commits.slice(-1 - (chance(0.3) ? dice(120) : dice(8)))) records.forEach(emit);
    },
    incrementalSnapshot() {
      // The rows carry the place of what closed their window: a write to the signal table, a transaction of its own.
      const lsn = lastCommit + 24;
      transaction++;
      for (const [key, row] of table)
        if (chance(0.3)) emit({ key, value: envelope('r', row, lsn, { snapshot: 'incremental', ts_us: stampUs + dice(100_000) }) });
      lastCommit = lsn + 8;
    },
    addPartition: () => void (written = topic.push([])),
    spreadAnew: () => void (written = 1 + dice(topic.length)),
    tableAt(timeUs) {
      // A commit that changed nothing is in no log.
      const end = commits.findIndex((commit) => commit.stampUs > timeUs && commit.records.length > 0);
      return commits[(end < 0 ? commits.length : end) - 1]?.after ?? new Map();
    },
    latestUs: () => commits.reduce((latest, commit) => Math.max(latest, commit.stampUs), START_US),
  };
}
