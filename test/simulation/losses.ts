/**
 * What injected damage has taken: places whose bytes are lost, and what lay there.
 *
 * A pack is deleted, or cut, or a value in it rots, behind the back of everybody. The oracle excuses a counted value that lies
 * in a lost place, and no other; whoever heals has the bytes from here, as a receiver has them from its sender. Names are never
 * used again, so a place that is lost stays lost.
 */
import type { Location } from '../../src/engine/repository/location.ts';
import { packNameOf } from '../../src/engine/repository/object-names.ts';
import type { MemoryTable } from '../../src/engine/repository/memory-table.ts';
import type { Objects } from './objects.ts';
import type { Random } from './random.ts';

export interface Losses {
  /** Whether the bytes of a value (hex) are lost that lay there. */
  isLost(value: string, location: Location): boolean;
  /** Whether anything is wrong with a pack. */
  isHarmed(pack: string): boolean;
  /** Whether a value was ever lost anywhere. */
  wasLost(value: string): boolean;
  /** The bytes of a pack before it was harmed. */
  pristine(pack: string): Buffer | undefined;
  /** Harms a pack that the table counts, and says how; null when there was none to harm. */
  harm(random: Random, objects: Objects, table: MemoryTable, valuesOf: (pack: string) => Iterable<string>): string | null;
}

export function createLosses(): Losses {
  const packs = new Map<string, { readonly bytes: Buffer; readonly values: Set<string> }>();
  const values = new Set<string>();

  const lose = (pack: string, bytes: Buffer, lost: Iterable<string>): void => {
    const known = packs.get(pack) ?? { bytes, values: new Set<string>() };
    packs.set(pack, known);
    for (const value of lost) {
      known.values.add(value);
      values.add(value);
    }
  };

  return {
    isLost: (value, { pack }) => packs.get(packNameOf(pack))?.values.has(value) === true,
    isHarmed: (pack) => packs.has(pack),
    wasLost: (value) => values.has(value),
    pristine: (pack) => packs.get(pack)?.bytes,
    harm(random, objects, table, valuesOf) {
      const rows = [...table.rows()];
      if (rows.length === 0) return null;
      const { fingerprint, location } = random.pick(rows);
      const pack = packNameOf(location.pack);
      const bytes = objects.byName.get(pack);
      if (bytes === undefined) return null;
      const how = random.weighted({ deleted: 2, cut: 2, rotten: 3 });
      if (how === 'rotten') {
        const rotten = Buffer.from(bytes);
        const at = location.offset + random.below(location.length);
        if (at >= rotten.length) return null;
        rotten[at] = (rotten[at] ?? 0) ^ 0x40;
        objects.harm(pack, rotten);
        lose(pack, bytes, [fingerprint.toString('hex')]);
      } else {
        // A pack that is cut has no directory any more, so all of it counts as lost.
        objects.harm(pack, how === 'deleted' ? null : bytes.subarray(0, random.below(bytes.length)));
        lose(pack, bytes, valuesOf(pack));
      }
      return `${pack} is ${how}`;
    },
  };
}
