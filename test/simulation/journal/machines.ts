/**
 * Machines: a disk with a write-ahead file each, of which a crash leaves what was synced and, by chance, some of what was not.
 *
 * The real file has tests of its own (test/engine/journal/write-ahead); this one gives the owner the same promises, and breaks down
 * and is lost as disks are.
 */
import { HoldfastError } from '../../../src/domain/errors.ts';
import type { WriteAheadPort } from '../../../src/engine/journal/owning/write-ahead-port.ts';
import type { JournalRecord } from '../../../src/engine/journal/records.ts';
import type { Random } from '../random.ts';
import type { Process } from '../scheduler.ts';
import type { Content, Moment } from './histories.ts';
import type { Standing } from './standing.ts';

export interface Machine {
  readonly name: string;
  /** What lies in its write-ahead file; null: there is none. */
  disk: Disk | null;
  /** Who has it open; one process at a time. */
  process: Process | null;
  /** What its volumes hold, while that is no moment of the journal: order is lost. */
  dirty: Content | null;
  /** What its last process has left, or leaves; null: nobody ran there. */
  standing: Standing | null;
  /** What was acknowledged by its file, by number. */
  readonly promised: Map<number, Moment>;
}

export interface Disk {
  /** A name for it that no other has. */
  readonly life: number;
  records: readonly JournalRecord[];
  /** So many of them are synced. */
  synced: number;
  /** Number that goes on, when it holds none. */
  next: number;
}

/** What a crash of the machine, or of the process, leaves. */
export function crash(machine: Machine, random: Random): void {
  const { disk } = machine;
  machine.process = null;
  if (disk !== null) disk.records = disk.records.slice(0, random.between(disk.synced, disk.records.length + 1));
}

/** Begins a file anew: what the one before held, and what was promised by it, is an orphan. */
export function beginFile(machine: Machine, life: number): void {
  machine.disk = { life, records: [], synced: 0, next: 0 };
  machine.dirty = null;
  machine.promised.clear();
}

/** The file of a machine, opened by a process; `next` is its first number, when it holds none. */
export function openFile(machine: Machine, process: Process, random: Random, next: number): WriteAheadPort {
  const { disk } = machine;
  if (disk === null) throw new Error(`${machine.name} has no file`);
  if (disk.records.length === 0) disk.next = next;
  // What was read at the opening is on the disk: the real one makes it final in a new segment.
  disk.synced = disk.records.length;
  const found = disk.records;
  let failed: HoldfastError | null = null;
  const first = (): number => disk.records[0]?.seq ?? disk.next;
  const refuse = (): void => {
    if (failed !== null) throw failed;
  };
  return {
    get next() {
      return first() + disk.records.length;
    },
    get failed() {
      return failed;
    },
    contents: {
      async *records(from) {
        yield* found.filter(({ seq }) => seq >= from);
      },
    },
    async append(records) {
      refuse();
      disk.records = [...disk.records, ...records];
    },
    async sync() {
      refuse();
      const through = disk.records.at(-1)?.seq ?? 0;
      await process.nap(random.below(3));
      refuse();
      if (random.chance(FAILS)) {
        failed = new HoldfastError('WRITE_AHEAD_FAILED', 'simulated: a sync failed');
        // The disk may be gone with it.
        if (random.chance(0.5)) machine.disk = null;
        throw failed;
      }
      disk.synced = Math.max(disk.synced, disk.records.filter(({ seq }) => seq <= through).length);
    },
    async freeBelow(seq) {
      const freed = disk.records.filter((record) => record.seq < seq && random.chance(0.5)).length;
      const kept = Math.min(freed, disk.synced);
      disk.next = disk.records[kept]?.seq ?? first() + disk.records.length;
      disk.records = disk.records.slice(kept);
      disk.synced -= kept;
    },
  };
}

/** Chance that a sync fails, which ends the file's life. */
const FAILS = 0.002;
