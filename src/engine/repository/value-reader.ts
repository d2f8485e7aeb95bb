/**
 * Reading single values: map nodes, and an extent now and then. (Bulk reads are the transfer's.)
 *
 * A reader may use any old table and any old hint: pack names are never used again, so a pack that is there holds what it
 * always held, and one that is gone says 404. Then the reader syncs and looks again, READ_ROUNDS_MAX times at the most.
 * No row any more: the snapshot was reclaimed (SNAPSHOT_GONE). A row, and 404 all the same: DAMAGED. Never wrong bytes:
 * a blob opens only as the value that it was asked for.
 */
import { HoldfastError, isHoldfastError } from '../../domain/errors.ts';
import { READ_ROUNDS_MAX } from '../../domain/limits.ts';
import { openBlob } from '../../ground/sealing/blob.ts';
import type { SealingKey } from '../../ground/sealing/envelope.ts';
import type { ObjectStore } from '../../ground/stores/object-store.ts';
import { fingerprintOf } from '../map/node.ts';
import type { ReadNode } from '../map/walk.ts';
import { readLocation, type Location } from './location.ts';
import type { NodeCache } from './node-cache.ts';
import { parseNodeBlob } from './nodes.ts';
import { packNameOf } from './object-names.ts';
import { packKeyOf } from './pack.ts';

export interface ValueReader {
  readonly readNode: ReadNode;
  /** Plain bytes of an extent, checked against its fingerprint. */
  readExtent(fingerprint: Buffer, hint: Location | null): Promise<Buffer>;
  /** Where a value lies now, after a hint or an older location has failed. */
  relocate(fingerprint: Buffer, failed: Location | null): Promise<Location>;
}

export interface ValueReaderPort {
  readonly store: ObjectStore;
  readonly key: SealingKey;
  /** The table's answer as of the last sync. */
  locate(fingerprint: Buffer): Location | null;
  refresh(): Promise<unknown>;
  readonly nodes: NodeCache;
}

const same = (a: Location, b: Location): boolean => a.offset === b.offset && a.pack.equals(b.pack);

export function createValueReader({ store, key, locate, refresh, nodes }: ValueReaderPort): ValueReader {
  const readAt = async (fingerprint: Buffer, at: Location): Promise<Buffer | null> => {
    const name = packNameOf(at.pack);
    const stored = await store.get(name, { range: { offset: at.offset, length: at.length } });
    if (stored === null) return null;
    if (stored.length !== at.length)
      throw new HoldfastError('DAMAGED', `pack ${name} is cut short`, { object: name, fingerprint: fingerprint.toString('hex') });
    return openBlob(stored, at.offset, packKeyOf(key, name), fingerprint).plain;
  };

  const relocate = async (fingerprint: Buffer, failed: Location | null): Promise<Location> => {
    let known = failed;
    for (let round = 0; round < READ_ROUNDS_MAX; round++) {
      if (round > 0) await refresh();
      const at = locate(fingerprint);
      if (at === null) {
        if (round === 0) continue;
        throw new HoldfastError('SNAPSHOT_GONE', 'a value of the snapshot was reclaimed', { fingerprint: fingerprint.toString('hex') });
      }
      if (known === null || !same(at, known)) return at;
      if (round > 0) break;
      known = at;
    }
    const object = known === null ? '' : packNameOf(known.pack);
    throw new HoldfastError('DAMAGED', `${object} is not in the store, though a live snapshot needs it`, {
      object,
      fingerprint: fingerprint.toString('hex'),
    });
  };

  const read = async (fingerprint: Buffer, hint: Location | null): Promise<Buffer> => {
    let at = hint ?? (await relocate(fingerprint, null));
    for (let round = 0; round < READ_ROUNDS_MAX; round++) {
      try {
        const plain = await readAt(fingerprint, at);
        if (plain !== null) return plain;
      } catch (error) {
        // A hint may be wrong in a damaged node; what the table says is believed.
        if (!isHoldfastError(error, 'DAMAGED')) throw error;
        await refresh();
        const table = locate(fingerprint);
        if (table === null || same(table, at)) throw error;
      }
      at = await relocate(fingerprint, at);
    }
    throw new HoldfastError('DAMAGED', 'a value moves faster than it can be read', { fingerprint: fingerprint.toString('hex') });
  };

  return {
    relocate,
    async readNode(fingerprint, at, level) {
      const cached = nodes.get(fingerprint);
      if (cached) return cached;
      const view = parseNodeBlob(await read(fingerprint, at === null ? null : readLocation(at, 0)), fingerprint, level);
      nodes.set(fingerprint, view);
      return view;
    },
    async readExtent(fingerprint, hint) {
      const plain = await read(fingerprint, hint);
      if (!fingerprintOf(plain).equals(fingerprint))
        throw new HoldfastError('DAMAGED', 'an extent is not the one that its name says', { fingerprint: fingerprint.toString('hex') });
      return plain;
    },
  };
}
