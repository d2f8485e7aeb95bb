/**
 * What the simulated volumes hold: small numbers that stand for extents, from an alphabet small enough that volumes share
 * values, positions move and return, regions empty, sizes change, and a whole volume may come to hold nothing.
 *
 * A snapshot's content is fixed the first time that anybody asks for it: every attempt at one snapshot ships the same.
 */
import type { Lineage, SnapshotId } from '../../src/domain/ids.ts';
import { MAP_FANOUT, SUBTREE_EXTENTS } from '../../src/domain/limits.ts';
import type { Content } from '../engine/repository/ship.ts';
import type { Random } from './random.ts';

/** Values in order of position; 0 is zeros. */
export type Image = readonly number[];

export interface Volumes {
  contentOf(lineage: Lineage, snapshot: SnapshotId): Image;
  known(snapshot: SnapshotId): Image;
}

const SIZES = [8, 16, 36] as const;

/** Positions are packed four to a leaf and four leaves to a subtree, whatever the fan-out. */
export const extentAt = (position: number): number =>
  Math.floor(position / 16) * SUBTREE_EXTENTS + Math.floor((position % 16) / 4) * MAP_FANOUT + (position % 4);

export const contentFrom = (image: Image): Content => new Map(image.flatMap((value, i) => (value === 0 ? [] : [[extentAt(i), value]])));

export function createVolumes(random: Random, { alphabet, copies }: { readonly alphabet: number; readonly copies: number }): Volumes {
  const now = new Map<Lineage, Image>();
  const taken = new Map<SnapshotId, Image>();

  const change = (before: Image): Image => {
    let image = [...before];
    if (random.chance(0.08)) {
      const size = random.pick(SIZES);
      image = Array.from({ length: size }, (_, i) => image[i] ?? 0);
    }
    const dice = random.next();
    if (dice < 0.15) {
      const by = random.pick([1, 4, 5]);
      image = [...image.slice(by), ...image.slice(0, by)];
    } else if (dice < 0.25) {
      const from = random.below(image.length / 4) * 4;
      image.fill(0, from, from + 4);
    } else if (dice < 0.25 + copies && taken.size > 0) image = [...random.pick([...taken.values()])];
    else if (dice > 0.97) return image.map(() => 0);
    for (let edits = random.between(1, 6); edits > 0; edits--) image[random.below(image.length)] = random.below(alphabet + 1);
    return image;
  };

  return {
    contentOf(lineage, snapshot) {
      const known = taken.get(snapshot);
      if (known) return known;
      const image = change(now.get(lineage) ?? Array.from({ length: random.pick(SIZES) }, () => 0));
      now.set(lineage, image);
      taken.set(snapshot, image);
      return image;
    },
    known: (snapshot) => taken.get(snapshot) ?? [],
  };
}
