/** A record is read and written whole, however little of it the system does at a time. */
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { randomFile, type PartialFile } from '../../../../src/engine/volumes/tracking/random-file.ts';

/** Reads and writes at most as much at a time as `amounts` say. */
function sluggish(disk: Buffer, amounts: Iterator<number, unknown>): PartialFile {
  const amount = (length: number, room: number): number => {
    const next = amounts.next();
    return Math.max(0, Math.min(length, room, next.done === true ? length : next.value));
  };
  const file = {
    read: async (into: Buffer, at: number, length: number, offset: number) => {
      const bytesRead = amount(length, disk.length - offset);
      disk.copy(into, at, offset, offset + bytesRead);
      return { bytesRead };
    },
    write: async (bytes: Buffer, at: number, length: number, offset: number) => {
      const bytesWritten = amount(length, disk.length - offset);
      bytes.copy(disk, offset, at, at + bytesWritten);
      return { bytesWritten };
    },
    datasync: async () => undefined,
    close: async () => undefined,
  };
  // The one overload of each that is used.
  return file as unknown as PartialFile;
}

test('in parts of any size', async () => {
  const amounts = fc.infiniteStream(fc.integer({ min: 1, max: 40 }));
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 300 }), fc.nat(100), amounts, async (content, offset, stream) => {
      const disk = Buffer.alloc(500);
      const file = randomFile(sluggish(disk, stream));
      await file.write(Buffer.from(content), offset);
      expect(disk.subarray(offset, offset + content.length)).toEqual(Buffer.from(content));
      expect(await file.read(offset, 500)).toEqual(Buffer.concat([disk.subarray(offset), Buffer.alloc(offset)]));
    }),
  );
});

test('a disk that takes nothing is an error, not an endless wait', async () => {
  const nothing = [0][Symbol.iterator]();
  await expect(randomFile(sluggish(Buffer.alloc(10), nothing)).write(Buffer.alloc(5), 0)).rejects.toThrow(/nothing could be written/);
});
