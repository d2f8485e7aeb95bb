/**
 * What a client of disks has written, and what it may find: blocks that say which write of theirs they are, and a checker that knows
 * prefixes.
 *
 * A client does not know in which order its concurrent writes were made, but what was answered before another was asked for came
 * before it. So a state is a prefix if and only if no write is missing that was answered before one that is there was asked for.
 */
import type { Random } from '../../simulation/random.ts';
import type { DiskUser } from '../../engine/volumes/nbd/disk-user.ts';

export const BLOCK = 4096;

/** A block that says which it is and which write of it this was, all over. */
export function stamp(block: number, serial: number): Buffer {
  const bytes = Buffer.alloc(BLOCK);
  if (serial === 0) return bytes;
  for (let at = 0; at < BLOCK; at += 16) {
    bytes.writeDoubleLE(serial, at);
    bytes.writeDoubleLE(block, at + 8);
  }
  return bytes;
}

interface Written {
  readonly asked: number;
  /** Null: not yet, or never. */
  answered: number | null;
}

export interface WriteHistory {
  /** Writes at random and flushes now and then until the disks are gone, or so many writes were made. */
  load(user: DiskUser, disk: number, depth: number, most?: number): Promise<void>;
  /**
   * Takes what is found as what the blocks hold from now on; throws when it lacks what was answered (`answered`), or promised by a flush. `none`:
   * what it lacks was lost, and is nobody's any more.
   */
  adopt(images: readonly Buffer[], promise: 'answered' | 'flushed' | 'none'): void;
  /** Throws unless this is a prefix, with everything in it that a flush has promised if it is said to have that. */
  checkPrefix(images: readonly Buffer[], promise: 'flushed' | 'none'): void;
  readonly flushes: number;
}

export function createHistory(blocks: number, random: Random): WriteHistory {
  let tick = 0;
  let flushes = 0;
  /** By disk and block: its writes, by serial - 1. */
  const writes = new Map<string, Written[]>();
  /** What had been answered when the newest answered flush was asked for. */
  let promisedBefore = 0;
  const of = (disk: number, block: number): Written[] => {
    const key = `${disk}/${block}`;
    const known = writes.get(key) ?? [];
    writes.set(key, known);
    return known;
  };
  const serials = (images: readonly Buffer[]): Map<string, number> => {
    const found = new Map<string, number>();
    for (const key of writes.keys()) {
      const [disk = 0, block = 0] = key.split('/').map(Number);
      const bytes = images[disk]?.subarray(block * BLOCK, (block + 1) * BLOCK) ?? Buffer.alloc(0);
      const serial = bytes.readDoubleLE(0);
      if (!bytes.equals(stamp(block, serial))) throw new Error(`block ${key} is not a whole write: ${serial}`);
      found.set(key, serial);
    }
    return found;
  };

  return {
    get flushes() {
      return flushes;
    },
    async load(user, disk, depth, most = Infinity) {
      const busy = new Set<number>();
      let made = 0;
      const work = async (): Promise<void> => {
        while (made++ < most) {
          let block = random.below(blocks);
          while (busy.has(block)) block = random.below(blocks);
          busy.add(block);
          const known = of(disk, block);
          const written: Written = { asked: ++tick, answered: null };
          known.push(written);
          await user.write(block * BLOCK, stamp(block, known.length));
          written.answered = ++tick;
          busy.delete(block);
          if (!random.chance(1 / 40)) continue;
          const asked = ++tick;
          await user.flush();
          flushes++;
          promisedBefore = Math.max(promisedBefore, asked);
        }
      };
      await Promise.allSettled(Array.from({ length: depth }, work));
    },
    adopt(images, promise) {
      for (const [key, serial] of serials(images)) {
        const known = writes.get(key) ?? [];
        requirePromised(key, known.slice(serial), { answered: Infinity, flushed: promisedBefore, none: 0 }[promise]);
        // What was under way may have been made: it is what the block holds from now on.
        known.length = serial;
        for (const one of known) one.answered ??= ++tick;
      }
    },
    checkPrefix(images, promise) {
      let oldestMissing = Infinity;
      let newestThere = 0;
      for (const [key, serial] of serials(images)) {
        const known = writes.get(key) ?? [];
        requirePromised(key, known.slice(serial), promise === 'flushed' ? promisedBefore : 0);
        for (const { answered } of known.slice(serial)) oldestMissing = Math.min(oldestMissing, answered ?? Infinity);
        newestThere = Math.max(newestThere, known[serial - 1]?.asked ?? 0);
      }
      if (oldestMissing < newestThere)
        throw new Error(`a write is missing that was answered (${oldestMissing}) before one that is there was asked for (${newestThere})`);
    },
  };
}

function requirePromised(key: string, missing: readonly Written[], before: number): void {
  const lacks = missing.find(({ answered }) => answered !== null && answered < before);
  if (lacks !== undefined) throw new Error(`block ${key} lacks a write that was promised: asked for at ${lacks.asked}`);
}
