/** Bases of a region in memory: whole images, small. Refuses extents that overlap, which the port promises not to be given. */
import { writeSync } from 'node:fs';
import { newSnapshotId } from '../../../../src/domain/ids.ts';
import type { BaseImage, BaseNotes, Bases, BaseSnapshots, StoredBase } from '../../../../src/engine/journal/keeping/bases.ts';
import type { VolumeExtent } from '../../../../src/engine/journal/recovery/replay.ts';

interface Stored extends StoredBase {
  readonly content: Buffer;
}

export interface MemoryBases extends Bases {
  readonly stored: Map<string, Stored>;
  /** Keeps an image that was made elsewhere. */
  keep(volume: number, content: Buffer, notes: BaseNotes): BaseSnapshots[number];
}

let serial = 0;

export function createMemoryBases(region: string, volumes: number, sizeBytes: number): MemoryBases {
  const stored = new Map<string, Stored>();
  const keep = (volume: number, content: Buffer, { epoch, from, takenMs }: BaseNotes): BaseSnapshots[number] => {
    const id = newSnapshotId(++serial, Math.random);
    stored.set(id, { id, volume, epoch, from, takenMs, content: Buffer.from(content) });
    return { volume, id };
  };
  return {
    region,
    stored,
    keep,
    list: async () => [...stored.values()],
    open: async (id) => {
      const one = stored.get(id);
      return one === undefined ? null : imageOf(one.content);
    },
    async restore(id, { target }) {
      const one = stored.get(id);
      if (one !== undefined) writeSync(target.fd, one.content, 0, one.content.length, 0);
      return one !== undefined;
    },
    async write(on, extents, notes) {
      const contents = Array.from({ length: volumes }, (_, volume) => {
        const base = on.find((one) => one.volume === volume);
        return base === undefined ? Buffer.alloc(sizeBytes) : Buffer.from(stored.get(base.id)!.content);
      });
      const over = contents.map(() => Buffer.alloc(sizeBytes));
      for await (const extent of extents) lay(extent, contents, over);
      return contents.map((content, volume) => keep(volume, content, notes));
    },
    async copy(volume, image, notes) {
      const content = Buffer.alloc(image.sizeBytes);
      await image.read(content, 0);
      return keep(volume, content, notes);
    },
    delete: async (id) => void stored.delete(id),
  };
}

function lay({ volume, offset, length, data }: VolumeExtent, contents: readonly Buffer[], over: readonly Buffer[]): void {
  const end = offset + length;
  if (data !== null && data.length !== length) throw new Error('an extent has other bytes than it says');
  if (over[volume]!.subarray(offset, end).some((byte) => byte !== 0)) throw new Error('extents overlap');
  over[volume]!.fill(1, offset, end);
  if (data === null) contents[volume]!.fill(0, offset, end);
  else data.copy(contents[volume]!, offset);
}

const imageOf = (content: Buffer): BaseImage => ({
  sizeBytes: content.length,
  read: async (into, offset) => void content.copy(into, 0, offset, offset + into.length),
  async *data() {
    yield { offset: 0, length: content.length };
  },
});
