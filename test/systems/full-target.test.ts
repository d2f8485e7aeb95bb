/** A restore whose target runs out of room: what it says, what it leaves, and that the next one goes on with that. */
import { statSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { ERROR_KINDS, HoldfastError } from '../../src/domain/errors.ts';
import { volumeName, type SnapshotId } from '../../src/domain/ids.ts';
import type { Repository } from '../../src/engine/repository/repository.ts';
import { Threads } from '../../src/ground/threads/threads.ts';
import { beginRestore, restorePart, type RestoreMode } from '../../src/systems/lifecycle/restoration.ts';
import { captureVolume } from './capture-volume.ts';
import { digestOfImage } from './image.ts';
import { createInstallation, type Installation } from './installation.ts';
import { describeWithSmallFileSystems, mountSmallFileSystem } from './small-file-system.ts';

const MIB = 1024 * 1024;
const EXTENT = 64 * 1024;
const EXTENTS = 640;
const ROOM = 16 * MIB;
const VOLUME = volumeName('large');

describeWithSmallFileSystems()('a target without room for the volume', () => {
  let installation: Installation;
  let threads: Threads;
  let repository: Repository;
  let snapshot: SnapshotId;
  beforeAll(async () => {
    installation = await createInstallation();
    threads = new Threads({ count: 2 });
    await installation.addStore('a');
    const writes = Array.from({ length: EXTENTS }, (_, extent) => ({ extent, content: 2 * extent + 2 }));
    await installation.addVolume('large', ['a'], { sizeBytes: EXTENTS * EXTENT, extentBytes: EXTENT, writes });
    snapshot = await captureVolume(installation.home, threads, 'large');
    repository = await installation.repository('a', 'large');
  });
  afterAll(async () => {
    await threads[Symbol.asyncDispose]();
    await installation[Symbol.asyncDispose]();
  });

  /** Each call is a restore of its own, as a user starts it. */
  let serial = 0;
  const restore = async (target: string, mode: RestoreMode) => {
    const { fresh, pin } = await beginRestore(repository, {
      ...{ volume: VOLUME, snapshot, target, mode },
      owner: `${++serial}`,
      again: false,
    });
    return restorePart(repository, 'a', snapshot, target, 0, !fresh, { pin, threads });
  };

  test('names it and how much is missing; once there is room, `differences` goes on with what was written', async () => {
    using small = mountSmallFileSystem(ROOM);
    const target = path.join(small.folder, 'large.img');
    const full: unknown = await restore(target, 'create').catch((error: unknown) => error);
    if (!(full instanceof HoldfastError)) throw new Error('it fits');
    expect(full.code).toBe('TARGET_FULL');
    expect(full.message).toMatch(new RegExp(`^${target}: .*ENOSPC.*room for \\d+ bytes more is wanted$`));
    const missingBytes = Number(full.details['missingBytes']);
    expect(missingBytes).toBeGreaterThanOrEqual(EXTENTS * EXTENT - ROOM);
    expect(missingBytes).toBeLessThan(EXTENTS * EXTENT);
    expect(ERROR_KINDS.TARGET_FULL.hint).toContain('--differences');
    const keptBytes = statSync(target).blocks * 512;
    expect(keptBytes).toBeGreaterThan(ROOM - 2 * MIB);

    // It is as full as before, and not taken for a file of somebody else's either.
    await expect(restore(target, 'create')).rejects.toMatchObject({ code: 'TARGET_EXISTS' });
    await expect(restore(target, 'differences')).rejects.toMatchObject({ code: 'TARGET_FULL' });
    small.resize(4 * ROOM);
    const { writtenBytes, readBytes } = await restore(target, 'differences');
    expect(writtenBytes).toBeLessThanOrEqual(EXTENTS * EXTENT - (keptBytes - 2 * EXTENT));
    expect(readBytes).toBeLessThan(EXTENTS * EXTENT - keptBytes / 2);
    expect(digestOfImage(target)).toBe(digestOfImage(installation.imageOf('large')));
  });
});
