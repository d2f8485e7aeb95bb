/**
 * The records that not all members have confirmed, in the order of their numbers, without holes, and how far batches were made of
 * them: what goes out again, under the next epoch, when a member is lost.
 */
import { HoldfastError } from '../../../domain/errors.ts';
import { BATCH_DATA_BYTES_MAX, BATCH_RECORDS_MAX } from '../../../domain/limits.ts';
import type { JournalRecord } from '../records.ts';

/** What one costs beside its data. */
const RECORD_BYTES = 64;

interface Held {
  readonly record: JournalRecord;
  readonly atMs: number;
  /** What it and all before it came to, from the first that was ever added on. */
  readonly throughBytes: number;
}

const dataBytes = ({ record }: Pick<Held, 'record'>): number => (record.kind === 'write' ? record.data.length : 0);

export class HeldRecords {
  #records: Held[] = [];
  /** How many at the beginning of that have been dropped already. */
  #dropped = 0;
  #next: number;
  #bytes = 0;
  #takenBytes = 0;
  #formed: number;
  #waitingBytes = 0;

  constructor(next: number) {
    this.#next = next;
    this.#formed = next - 1;
  }

  get next(): number {
    return this.#next;
  }

  /** Number of the oldest; `next` when there is none. */
  get first(): number {
    return this.#records[this.#dropped]?.record.seq ?? this.#next;
  }

  /** Data, and what the records cost besides. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Batches were made of everything up to this number. */
  get formed(): number {
    return this.#formed;
  }

  /** Whether what no batch was made of fills one. */
  get fillsBatch(): boolean {
    return this.#waitingBytes >= BATCH_DATA_BYTES_MAX || this.#next - 1 - this.#formed >= BATCH_RECORDS_MAX;
  }

  add(record: JournalRecord, atMs: number): void {
    if (record.seq !== this.#next)
      throw new HoldfastError('INTERNAL', 'a record that cannot be next', { seq: record.seq, expected: this.#next });
    const bytes = dataBytes({ record });
    this.#takenBytes += bytes + RECORD_BYTES;
    this.#records.push({ record, atMs, throughBytes: this.#takenBytes });
    this.#next++;
    this.#bytes += bytes + RECORD_BYTES;
    this.#waitingBytes += bytes;
  }

  /** What all records up to this one came to, those that were dropped included. */
  bytesThrough(seq: number): number {
    if (seq >= this.#next - 1) return this.#takenBytes;
    const after = this.#records[this.#placeAfter(seq)];
    return after === undefined ? this.#takenBytes : after.throughBytes - dataBytes(after) - RECORD_BYTES;
  }

  /** As many as one batch holds of those that wait, none past `through`. */
  takeBatch(through: number): readonly JournalRecord[] {
    const from = this.#placeAfter(this.#formed);
    const taken: JournalRecord[] = [];
    let bytes = 0;
    for (let held = this.#records[from]; held !== undefined && held.record.seq <= through; held = this.#records[from + taken.length]) {
      if (taken.length === BATCH_RECORDS_MAX || bytes + dataBytes(held) > BATCH_DATA_BYTES_MAX) break;
      bytes += dataBytes(held);
      taken.push(held.record);
    }
    this.#formed += taken.length;
    this.#waitingBytes -= bytes;
    return taken;
  }

  /** What comes after this number waits for a batch again. */
  rewind(seq: number): void {
    const from = this.#placeAfter(seq);
    this.#formed = seq;
    this.#waitingBytes = this.#records.slice(from).reduce((sum, held) => sum + dataBytes(held), 0);
  }

  dropThrough(seq: number): void {
    for (let first = this.#records[this.#dropped]; first !== undefined && first.record.seq <= seq; first = this.#records[this.#dropped]) {
      this.#bytes -= dataBytes(first) + RECORD_BYTES;
      this.#dropped++;
    }
    // Each is moved once at the most for each that is dropped.
    if (this.#dropped < this.#records.length - this.#dropped) return;
    this.#records = this.#records.slice(this.#dropped);
    this.#dropped = 0;
  }

  /** The oldest record after this number, and when it came. */
  after(seq: number): { readonly seq: number; readonly atMs: number } | null {
    const held = this.#records[this.#placeAfter(seq)];
    return held === undefined ? null : { seq: held.record.seq, atMs: held.atMs };
  }

  #placeAfter(seq: number): number {
    const { first } = this;
    if (seq + 1 < first) throw new HoldfastError('INTERNAL', 'records that are not held any more', { seq: seq + 1, first });
    return this.#dropped + seq + 1 - first;
  }
}
