/** Stretches and places of volumes held against each other: what of the stretches lies in places, and what of the places no stretch has. */
import type { Place } from './changed.ts';
import { firstAfter, type Stretches, ZEROS } from './stretches.ts';
import { placeOf } from './replay.ts';

export interface Clipped {
  /** As stretches of the same batches, to be replayed. */
  readonly inside: Stretches;
  /** Ascending. */
  readonly bare: readonly (Place & { readonly volume: number })[];
}

/** `places` of each volume that is looked at: ascending, none touching the next. */
export function clip(stretches: Stretches, places: ReadonlyMap<number, Iterable<Place>>): Clipped {
  const parts: { readonly i: number; readonly from: number; readonly length: number }[] = [];
  const bare: (Place & { readonly volume: number })[] = [];
  for (const [volume, some] of [...places].sort(([a], [b]) => a - b)) {
    for (const { offset, length } of some) {
      const end = offset + length;
      let at = offset;
      for (let i = firstAfter(stretches, volume, offset); at < end && i < stretches.count && stretches.volumes[i] === volume; i++) {
        const one = placeOf(stretches, i);
        if (one.offset >= end) break;
        const from = Math.max(at, one.offset);
        if (from > at) bare.push({ volume, offset: at, length: from - at });
        at = Math.min(end, one.offset + one.length);
        parts.push({ i, from, length: at - from });
      }
      if (at < end) bare.push({ volume, offset: at, length: end - at });
    }
  }
  return {
    bare,
    inside: {
      count: parts.length,
      volumes: Uint16Array.from(parts, ({ i }) => stretches.volumes[i] ?? 0),
      offsets: Float64Array.from(parts, ({ from }) => from),
      lengths: Uint32Array.from(parts, ({ length }) => length),
      batches: Uint32Array.from(parts, ({ i }) => stretches.batches[i] ?? 0),
      places: Uint32Array.from(parts, ({ i, from }) => placeFrom(stretches, i, from)),
    },
  };
}

/** Where in the batch's data the bytes from `from` on begin. */
function placeFrom({ places, offsets }: Stretches, i: number, from: number): number {
  const place = places[i] ?? ZEROS;
  return place === ZEROS ? ZEROS : place + from - (offsets[i] ?? 0);
}
