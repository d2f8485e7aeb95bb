/**
 * What a node has written, record by record: the moment that each number of its life stands for, and what its volumes held then.
 *
 * Everything that the owner says is durable goes to the oracle at that instant.
 */
import type { Journal } from '../../../src/engine/journal/journal.ts';
import type { JournalOp, Owner } from '../../../src/engine/journal/owning/owner.ts';
import type { Process } from '../scheduler.ts';
import { Violation } from '../violation.ts';
import { applied, type Moment } from './histories.ts';
import type { Machine } from './machines.ts';
import { blocksOf, type Standing } from './standing.ts';
import type { World } from './world.ts';

export interface Writer {
  readonly world: World;
  readonly process: Process;
  readonly journal: Journal;
  readonly machine: Machine;
  readonly owner: Owner;
  /** Its volumes; and the moment in the journal that these are, unless order is lost. */
  readonly standing: Standing;
  moment: Moment;
  /** Number of the newest flush. */
  flushed: number;
  /** By number, of this life. */
  readonly moments: Map<number, Moment>;
}

/** Appends and takes note of every record that got a number. */
export async function appendAll(writer: Writer, ops: readonly JournalOp[]): Promise<void> {
  const first = writer.owner.next;
  const appended = writer.owner.append(ops);
  note(writer, ops, first);
  await appended;
}

/** Appends a flush and waits for its answer. */
export async function flush(writer: Writer): Promise<void> {
  const first = writer.owner.next;
  const flushed = writer.owner.flush();
  note(writer, [{ kind: 'flush' }], first);
  writer.flushed = first;
  const seq = await flushed;
  const moment = writer.moments.get(seq);
  if (seq !== first || moment === undefined) throw new Violation(`a flush got number ${seq} instead of ${first}`);
  if (writer.world.mode === 'local') writer.machine.promised.set(seq, moment);
  writer.world.count(`flushes answered in mode ${writer.world.mode}`);
  tell(writer, seq);
}

/** The records that `owner` gave numbers to, from `first` on. */
function note(writer: Writer, ops: readonly JournalOp[], first: number): void {
  const { histories } = writer.world;
  const given = writer.owner.next - first;
  if (given !== 0 && given !== ops.length) throw new Violation(`${ops.length} records got ${given} numbers`);
  for (const [i, op] of ops.slice(0, given).entries()) {
    const { standing } = writer;
    standing.content = applied(standing.content, op);
    standing.places.set(first + i, blocksOf(op));
    writer.moment = histories.after(writer.moment, { ...op, seq: first + i });
    writer.moments.set(first + i, writer.moment);
    histories.note(writer.moment, standing.content);
  }
}

/** What the owner says is acknowledged. */
export function tell({ world, owner, moments }: Writer, seq: number): void {
  const moment = moments.get(seq);
  if (moment !== undefined) world.oracle.acknowledged(owner.epoch, seq, moment);
}
