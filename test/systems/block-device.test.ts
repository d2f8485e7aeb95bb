import { closeSync, constants, fsyncSync, openSync, readSync, statSync, writeSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { repositoryName, storeName, volumeName } from '../../src/domain/ids.ts';
import { newestVisible } from '../../src/engine/repository/transfer-reader.ts';
import { openFileSource } from '../../src/engine/transfer/file-source.ts';
import { Threads } from '../../src/ground/threads/threads.ts';
import { beginRestore } from '../../src/systems/lifecycle/restoration.ts';
import { captureVolume } from './capture-volume.ts';
import { contentOf } from './image.ts';
import { createInstallation, HOST, type Installation } from './installation.ts';
import { attachLoopDevice, describeWithLoopDevices, type LoopDevice } from './loop-device.ts';
import { restoreSnapshot } from './restore-snapshot.ts';

const EXTENT = 64 * 1024;
/** Not a whole number of extents, nor of the larger sectors. */
const SIZE = 100 * EXTENT + 12 * 1024 + 512;

function write(path: string, offset: number, bytes: Uint8Array): void {
  const fd = openSync(path, 'r+');
  writeSync(fd, bytes, 0, bytes.length, offset);
  fsyncSync(fd);
  closeSync(fd);
}

function read(path: string, bytes: number): Buffer {
  const fd = openSync(path, 'r');
  const into = Buffer.alloc(bytes);
  for (let got = 0; got < bytes;) {
    const more = readSync(fd, into, got, bytes - got, got);
    if (more === 0) throw new Error(`${path} ends at ${got}`);
    got += more;
  }
  closeSync(fd);
  return into;
}

const describeDevices = describeWithLoopDevices();
describeDevices('a block device', () => {
  let installation: Installation;
  let threads: Threads;
  let source: LoopDevice;
  const devices: LoopDevice[] = [];
  const attach = (name: string, sizeBytes: number, sectorBytes?: number): LoopDevice => {
    const device = attachLoopDevice(installation.folder, name, sizeBytes, sectorBytes);
    devices.push(device);
    return device;
  };
  const volume = volumeName('disk');
  const restore = async (target: string, mode?: 'create' | 'overwrite' | 'differences', again = false): Promise<void> => {
    const repository = await installation.repository('a', 'disk');
    await restoreSnapshot(repository, threads, { volume, snapshot: null, target, again, ...(mode === undefined ? {} : { mode }) });
  };

  beforeAll(async () => {
    installation = await createInstallation();
    threads = new Threads({ count: 2 });
    await installation.addStore('a');
    source = attach('source', SIZE);
    for (const extent of [0, 1, 7, 50, 51, 90]) write(source.path, extent * EXTENT, contentOf(extent * 2 + 2, EXTENT));
    await installation.home.catalog.append(() => ({
      kind: 'VOLUME_ADD',
      volume: {
        ...{ name: volume, incarnation: 1, node: HOST, path: source.path, extentBytes: EXTENT, stores: [storeName('a')] },
        ...{ repository: repositoryName('disk'), retired: false },
      },
    }));
    await captureVolume(installation.home, threads, 'disk');
  });
  afterAll(async () => {
    for (const device of devices) device.detach();
    await threads[Symbol.asyncDispose]();
    await installation[Symbol.asyncDispose]();
  });

  test('is captured whole: its size is what the kernel says, though stat says nothing', async () => {
    expect(statSync(source.path).size).toBe(0);
    const snapshot = newestVisible(await installation.repository('a', 'disk'), volume);
    expect(snapshot.sizeBytes).toBe(SIZE);
    const target = `${installation.folder}/as-file`;
    await restore(target);
    expect(read(target, SIZE).equals(read(source.path, SIZE))).toBe(true);
  });

  test.each([512, 4096])(
    'takes a restore over what it held, zeros included, with sectors of %i; what lies behind is left alone',
    async (sectorBytes) => {
      const behind = 5 * EXTENT;
      const room = SIZE + behind;
      const target = attach(`target-${sectorBytes}`, room - (room % sectorBytes), sectorBytes);
      const held = contentOf(4, room);
      write(target.path, 0, held.subarray(0, room - (room % sectorBytes)));
      await restore(target.path, 'overwrite');
      expect(read(target.path, SIZE).equals(read(source.path, SIZE))).toBe(true);
      expect(
        read(target.path, SIZE + EXTENT)
          .subarray(SIZE)
          .equals(held.subarray(SIZE, SIZE + EXTENT)),
      ).toBe(true);
      // From the file behind it, so that the page cache of the device is not the one that answers.
      expect(read(target.file, SIZE).equals(read(source.path, SIZE))).toBe(true);
    },
  );

  test('is written only where it differs, when that is asked for', async () => {
    const target = attach('differences', SIZE);
    await restore(target.path, 'overwrite');
    write(target.path, 7 * EXTENT + 5, Buffer.from('other'));
    write(target.path, 20 * EXTENT, Buffer.from('not a hole any more'));
    await restore(target.path, 'differences');
    expect(read(target.path, SIZE).equals(read(source.path, SIZE))).toBe(true);
  });

  test('is refused as a target without consent, on a second try, too', async () => {
    const target = attach('precious', SIZE);
    write(target.path, 0, contentOf(6, SIZE));
    await expect(restore(target.path)).rejects.toMatchObject({ code: 'TARGET_EXISTS' });
    await expect(restore(target.path, 'create', true)).rejects.toMatchObject({ code: 'TARGET_EXISTS' });
    expect(read(target.path, SIZE).equals(contentOf(6, SIZE))).toBe(true);
  });

  test('is refused as a target when it is too small, in use, or not there', async () => {
    const small = attach('small', SIZE - 4096);
    await expect(restore(small.path, 'overwrite')).rejects.toMatchObject({
      code: 'TARGET_TOO_SMALL',
      details: { targetBytes: SIZE - 4096, sizeBytes: SIZE },
    });
    const used = attach('used', SIZE);
    const holder = openSync(used.path, constants.O_RDONLY | constants.O_EXCL);
    await expect(restore(used.path, 'overwrite')).rejects.toMatchObject({
      code: 'TARGET_UNWRITABLE',
      message: expect.stringMatching(/in use/),
    });
    closeSync(holder);
    await expect(restore('/dev/hf-no-such-device')).rejects.toMatchObject({
      code: 'TARGET_UNWRITABLE',
      message: expect.stringMatching(/no device/),
    });
    expect((await installation.repository('a', 'disk')).ledger().pins.size).toBe(0);
    const repository = await installation.repository('a', 'disk');
    const begun = await beginRestore(repository, {
      volume,
      snapshot: null,
      target: used.path,
      mode: 'overwrite',
      owner: 'x',
      again: false,
    });
    expect(begun.fresh).toBe(false);
  });

  test('that was written to while it was open is fuzzy, as is one that somebody else holds', async () => {
    {
      await using view = await openFileSource(source.path);
      expect(await view.consistency()).toBe('crash');
      write(source.path, 30 * EXTENT, Buffer.from('late'));
      expect(await view.consistency()).toBe('fuzzy');
    }
    await using again = await openFileSource(source.path);
    expect(await again.consistency()).toBe('crash');
    const used = attach('held', SIZE);
    const holder = openSync(used.path, constants.O_RDONLY | constants.O_EXCL);
    await using shared = await openFileSource(used.path);
    expect(await shared.consistency()).toBe('fuzzy');
    closeSync(holder);
  });

  test('that nothing is attached to is unreadable, not an empty volume', async () => {
    const device = attachLoopDevice(installation.folder, 'gone', SIZE);
    device.detach();
    await expect(openFileSource(device.path)).rejects.toMatchObject({
      code: 'SOURCE_UNREADABLE',
      message: expect.stringMatching(/nothing is attached|ENXIO/),
    });
  });
});
