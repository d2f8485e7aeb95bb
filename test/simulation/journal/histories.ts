/**
 * What was ever written, as a tree: each node is a record with everything before it, so that two writers who give one number to
 * different records are on different branches.
 *
 * Beside each stands what its writer's volumes held right after it, which the records alone cannot say once order was lost
 * before one of them. Whatever is read back anywhere is held against that.
 */
import type { JournalOp } from '../../../src/engine/journal/owning/owner.ts';
import type { JournalRecord } from '../../../src/engine/journal/records.ts';
import { Violation } from '../violation.ts';

export const VOLUMES_MAX = 3;
/** Blocks of a volume, and bytes of a block, which hold one number. */
export const BLOCKS = 4;
export const BLOCK_BYTES = 8;

/** A record with all before it; 0: nothing yet. */
export type Moment = number;
/** The number in each block, volume after volume. */
export type Content = readonly number[];

export const EMPTY_CONTENT: Content = Array.from({ length: VOLUMES_MAX * BLOCKS }, () => 0);

export interface Histories {
  /** The moment after one more record. */
  after(moment: Moment, record: JournalRecord): Moment;
  /** What a writer's volumes hold there. */
  note(moment: Moment, content: Content): void;
  /** The same, asked; a moment that no writer noted is a violation. */
  contentOf(moment: Moment): Content;
}

export function createHistories(): Histories {
  const moments = new Map<string, Moment>();
  const contents = new Map<Moment, Content>([[0, EMPTY_CONTENT]]);
  return {
    after(moment, record) {
      const key = `${moment} ${shape(record)}`;
      const known = moments.get(key);
      if (known !== undefined) return known;
      moments.set(key, moments.size + 1);
      return moments.size;
    },
    note: (moment, content) => void contents.set(moment, content),
    contentOf(moment) {
      const content = contents.get(moment);
      if (content === undefined) throw new Violation('there is a record that nobody wrote');
      return content;
    },
  };
}

function shape(record: JournalRecord): string {
  switch (record.kind) {
    case 'write':
      return `${record.seq} w ${record.volume} ${record.offset} ${Buffer.from(record.data).toString('hex')}`;
    case 'zero':
      return `${record.seq} z ${record.volume} ${record.offset} ${record.length}`;
    default:
      return `${record.seq} ${record.kind}`;
  }
}

/** What volumes hold after a write or zeroing. */
export function applied(content: Content, op: JournalOp): Content {
  if (op.kind !== 'write' && op.kind !== 'zero') return content;
  const data = op.kind === 'write' ? Buffer.from(op.data.buffer, op.data.byteOffset, op.data.length) : null;
  const next = [...content];
  const first = op.volume * BLOCKS + op.offset / BLOCK_BYTES;
  const blocks = (op.kind === 'write' ? op.data.length : op.length) / BLOCK_BYTES;
  for (let i = 0; i < blocks; i++) next[first + i] = data === null ? 0 : Number(data.readBigUInt64BE(i * BLOCK_BYTES));
  return next;
}

export const sameContent = (a: Content, b: Content): boolean => a.length === b.length && a.every((value, i) => value === b[i]);

/** The bytes of blocks. */
export function bytesOf(values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(values.length * BLOCK_BYTES);
  for (const [i, value] of values.entries()) bytes.writeBigUInt64BE(BigInt(value), i * BLOCK_BYTES);
  return bytes;
}

export const valuesOf = (bytes: Buffer): number[] =>
  Array.from({ length: bytes.length / BLOCK_BYTES }, (_, i) => Number(bytes.readBigUInt64BE(i * BLOCK_BYTES)));
