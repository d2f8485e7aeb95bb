/**
 * Bases of the journal, as a simulated region's repository keeps them: one object a snapshot, with what each block holds.
 *
 * The real one is the pipeline of every other snapshot, which has a simulation of its own; here only the journal's use of it is tried.
 */
import { HoldfastError } from '../../../src/domain/errors.ts';
import { newSnapshotId } from '../../../src/domain/ids.ts';
import type { BaseSnapshots, Bases, StoredBase } from '../../../src/engine/journal/keeping/bases.ts';
import { listAll, type ObjectStore } from '../../../src/ground/stores/object-store.ts';
import type { Random } from '../random.ts';
import { BLOCK_BYTES, BLOCKS, bytesOf, EMPTY_CONTENT, valuesOf, type Content } from './histories.ts';
import type { SimulatedRegion } from './world.ts';

export const SNAPSHOTS = 's/';

interface Stored {
  readonly base: StoredBase;
  readonly blocks: readonly number[];
  readonly isRotten?: true;
}

const parse = (bytes: Buffer): Stored => JSON.parse(bytes.toString('utf8')) as Stored;

/** A base of which something has rotted: that it is there is known, as by the records of the real one. */
export const rotten = (bytes: Buffer): Buffer => Buffer.from(JSON.stringify({ ...parse(bytes), isRotten: true }));

/** What a base holds, or held before it was harmed; null: a snapshot of it is not there. */
export function readSnapshot({ objects, harmed }: Pick<SimulatedRegion, 'objects' | 'harmed'>, snapshots: BaseSnapshots): Content | null {
  const content = [...EMPTY_CONTENT];
  for (const { volume, id } of snapshots) {
    const bytes = harmed.get(`${SNAPSHOTS}${id}`) ?? objects.byName.get(`${SNAPSHOTS}${id}`);
    if (bytes === undefined) return null;
    for (const [i, value] of parse(bytes).blocks.entries()) content[volume * BLOCKS + i] = value;
  }
  return content;
}

export interface BasesOptions {
  readonly region: string;
  readonly store: ObjectStore;
  readonly random: Random;
  /** A number never given before. */
  readonly serial: () => number;
  /** Volumes of the group. */
  readonly volumes: number;
}

export function createBases({ region, store, random, serial, volumes }: BasesOptions): Bases {
  const nameOf = (id: string): string => `${SNAPSHOTS}${id}`;
  const read = async (id: string): Promise<Stored | null> => {
    const bytes = await store.get(nameOf(id));
    return bytes === null ? null : parse(bytes);
  };
  const put = async (base: Omit<StoredBase, 'id'>, blocks: readonly number[]): Promise<BaseSnapshots[number]> => {
    const id = newSnapshotId(serial(), random.next);
    await store.put(nameOf(id), Buffer.from(JSON.stringify({ base: { ...base, id }, blocks })), { ifAbsent: true });
    return { volume: base.volume, id };
  };
  return {
    region,
    async list() {
      const found: StoredBase[] = [];
      for await (const { name } of listAll(store, SNAPSHOTS)) {
        const stored = await read(name.slice(SNAPSHOTS.length));
        if (stored !== null) found.push(stored.base);
      }
      return found;
    },
    async open(id) {
      const stored = await read(id);
      if (stored === null) return null;
      return {
        sizeBytes: stored.blocks.length * BLOCK_BYTES,
        async read(into, offset) {
          const now = await read(id);
          if (now?.isRotten === true)
            throw new HoldfastError('DAMAGED', `base ${id} of ${region} is not what was written`, { snapshot: id, region });
          if (now === null) throw new HoldfastError('OBJECT_MISSING', `base ${id} is in ${region} no more`, { snapshot: id, region });
          bytesOf(now.blocks).copy(into, 0, offset, offset + into.length);
        },
        async *data() {
          for (const [i, value] of stored.blocks.entries()) if (value !== 0) yield { offset: i * BLOCK_BYTES, length: BLOCK_BYTES };
        },
      };
    },
    restore: () => Promise.reject(new Error('a simulation has no files')),
    async write(on, extents, { epoch, from, takenMs }) {
      const blocks = Array.from({ length: volumes }, () => Array.from({ length: BLOCKS }, () => 0));
      for (const { volume, id } of on) {
        const stored = await read(id);
        if (stored === null) throw new HoldfastError('OBJECT_MISSING', `base ${id} is not in ${region}`, { snapshot: id, region });
        if (stored.isRotten === true)
          throw new HoldfastError('DAMAGED', `base ${id} of ${region} is not what was written`, { snapshot: id, region });
        blocks[volume] = [...stored.blocks];
      }
      for await (const { volume, offset, length, data } of extents) {
        const values = data === null ? Array.from({ length: length / BLOCK_BYTES }, () => 0) : valuesOf(data);
        blocks[volume]?.splice(offset / BLOCK_BYTES, values.length, ...values);
      }
      const written: BaseSnapshots[number][] = [];
      for (const [volume, values] of blocks.entries()) written.push(await put({ volume, epoch, from, takenMs }, values));
      return written;
    },
    async copy(volume, image, { epoch, from, takenMs }) {
      const bytes = Buffer.alloc(image.sizeBytes);
      await image.read(bytes, 0);
      return put({ volume, epoch, from, takenMs }, valuesOf(bytes));
    },
    delete: (id) => store.delete([nameOf(id)]),
  };
}
