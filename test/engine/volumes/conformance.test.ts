/**
 * A served volume, with tracking and views, before the clients that people use: libnbd, QEMU and fio. What a file export owes
 * them is in nbd/clients.test.ts.
 */
import { execFile } from 'node:child_process';
import { randomBytes, randomInt } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { expect, test } from '@jest/globals';
import { describeWithPrograms } from '../../describe-with-programs.ts';
import { conformanceVolume, type ConformanceVolume } from './conformance-volume.ts';

const run = promisify(execFile);
const KIB = 1024;
const MIB = 1024 * KIB;
const SIZE = 64 * MIB;
const EXTENT = 64 * KIB;

const qemuIo = (volume: ConformanceVolume, ...commands: readonly string[]): Promise<{ readonly stdout: string }> =>
  run('qemu-io', ['-f', 'raw', ...commands.flatMap((command) => ['-c', command]), volume.uri()]);

/** A disk with data here and there. */
function someDisk(): Buffer {
  const content = Buffer.alloc(SIZE);
  for (const at of [0, 5 * MIB, 40 * MIB]) content.set(randomBytes(3 * MIB + 17), at);
  return content;
}

interface MapEntry {
  readonly offset: number;
  readonly length: number;
  readonly type: number;
}

interface QemuMapEntry {
  readonly start: number;
  readonly length: number;
  readonly data: boolean;
}

const describeLibnbd = await describeWithPrograms('nbdinfo', 'nbdcopy', 'qemu-io');
describeLibnbd('libnbd', () => {
  test('nbdinfo sees the volume, its views, their sizes, and what is known to have changed since when', async () => {
    await using volume = await conformanceVolume(SIZE);
    await qemuIo(volume, 'write -P 1 8M 1M');
    await volume.freeze('s1');
    await qemuIo(volume, 'write -P 2 20M 100k');
    await volume.freeze('s2');
    const { stdout } = await run('nbdinfo', ['--list', '--json', volume.uri('')]);
    const told = JSON.parse(stdout) as { readonly structured: boolean; readonly exports: readonly { readonly 'export-name': string }[] };
    expect(told).toMatchObject({ protocol: 'newstyle-fixed', structured: true });
    const named = new Map(told.exports.map((one) => [one['export-name'], one]));
    const contexts = (...snapshots: readonly string[]): readonly string[] => [
      'base:allocation',
      'holdfast:kept',
      ...snapshots.flatMap((snapshot) => [`holdfast:changed:${snapshot}`, `qemu:dirty-bitmap:${snapshot}`]),
    ];
    const volumes = { is_read_only: false, can_fua: true, can_flush: true, can_trim: true, can_zero: true };
    expect(named.get('disk')).toMatchObject({
      'export-size': SIZE,
      can_multi_conn: true,
      contexts: contexts('s1', 's2').filter((name) => name !== 'holdfast:kept'),
      ...volumes,
    });
    expect(named.get('disk@s1')).toMatchObject({ 'export-size': SIZE, can_multi_conn: true, is_read_only: true, contexts: contexts() });
    expect(named.get('disk@s2')).toMatchObject({ 'export-size': SIZE, is_read_only: true, contexts: contexts('s1') });
    const map = async (name: string, context: string): Promise<readonly (readonly number[])[]> => {
      const { stdout: json } = await run('nbdinfo', [`--map=${context}`, '--json', volume.uri(name)]);
      return (JSON.parse(json) as readonly MapEntry[]).filter(({ type }) => type === 1).map(({ offset, length }) => [offset, length]);
    };
    const changed = [[20 * MIB, 2 * EXTENT]];
    for (const context of ['holdfast:changed:s1', 'qemu:dirty-bitmap:s1'])
      expect([await map('disk', context), await map('disk@s2', context)]).toEqual([changed, changed]);
    expect(await map('disk', 'holdfast:changed:s2')).toEqual([]);
  });

  test('nbdcopy both ways over four connections; a view stays what it was while the volume is overwritten', async () => {
    await using volume = await conformanceVolume(SIZE);
    const [first, second, back] = ['first', 'second', 'back'].map((name) => path.join(volume.folder, name)) as [string, string, string];
    const [was, is] = [someDisk(), someDisk()];
    writeFileSync(first, was);
    writeFileSync(second, is);
    await run('nbdcopy', ['--connections=4', '--flush', first, volume.uri()]);
    expect(readFileSync(volume.image).equals(was)).toBe(true);
    await volume.freeze('s1');
    await Promise.all([
      run('nbdcopy', ['--connections=4', '--flush', second, volume.uri()]),
      run('nbdcopy', ['--connections=4', volume.uri('disk@s1'), back]),
    ]);
    expect(readFileSync(back).equals(was)).toBe(true);
    await run('nbdcopy', ['--connections=4', volume.uri('disk@s1'), back]);
    expect(readFileSync(back).equals(was)).toBe(true);
    await run('nbdcopy', ['--connections=4', volume.uri(), back]);
    expect(readFileSync(back).equals(is)).toBe(true);
  });
});

const describeQemu = await describeWithPrograms('qemu-img', 'qemu-io');
describeQemu('QEMU', () => {
  test('qemu-img compares, converts and maps the volume and a view; its own name for what changed is understood', async () => {
    await using volume = await conformanceVolume(SIZE);
    await qemuIo(volume, 'write -P 1 1M 2M', 'write -P 2 60M 4M', 'flush');
    await volume.freeze('s1');
    const copy = path.join(volume.folder, 'copy.qcow2');
    await run('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', volume.uri('disk@s1'), copy]);
    await run('qemu-img', ['compare', '-f', 'raw', '-F', 'qcow2', volume.uri(), copy]);
    await qemuIo(volume, 'write -P 3 32M 1M', 'flush');
    await expect(run('qemu-img', ['compare', '-f', 'raw', '-F', 'qcow2', volume.uri(), copy])).rejects.toMatchObject({ code: 1 });
    await run('qemu-img', ['compare', '-f', 'raw', '-F', 'qcow2', volume.uri('disk@s1'), copy]);
    const map = async (...of: readonly string[]): Promise<readonly QemuMapEntry[]> =>
      JSON.parse((await run('qemu-img', ['map', '--output=json', ...of])).stdout) as readonly QemuMapEntry[];
    const runs = (of: readonly QemuMapEntry[], data: boolean) =>
      of.filter((one) => one.data === data).map(({ start, length }) => [start, length]);
    const before = [
      [MIB, 2 * MIB],
      [60 * MIB, 4 * MIB],
    ];
    expect(runs(await map('-f', 'raw', volume.uri('disk@s1')), true)).toEqual(before);
    expect(runs(await map('-f', 'raw', volume.uri()), true)).toEqual([before[0], [32 * MIB, MIB], before[1]]);
    // QEMU shows what a bitmap marks as what is no data.
    const dirty = `driver=nbd,server.type=unix,server.path=${volume.socket},export=disk,x-dirty-bitmap=qemu:dirty-bitmap:s1`;
    expect(runs(await map('--image-opts', dirty), false)).toEqual([[32 * MIB, MIB]]);
  });

  test('qemu-io writes, forces, flushes, zeroes, discards and reads back, with a view open', async () => {
    await using volume = await conformanceVolume(SIZE);
    await qemuIo(volume, 'write -P 9 0 8M');
    await volume.freeze('s1');
    const { stdout } = await qemuIo(
      volume,
      ...['write -P 0x11 0 1M', 'write -f -P 0x22 1M 64k', 'flush', 'aio_write -P 0x33 2M 1M', 'aio_flush', 'read -P 0x33 2M 1M'],
      ...['write -z 3M 1M', 'write -z -u 4M 1M', 'write -z -f 5M 64k', 'discard 6M 1M', 'flush'],
      ...[
        'read -P 0x11 0 1M',
        'read -P 0x22 1M 64k',
        'read -P 9 1088k 960k',
        'read -P 0 3M 2112k',
        'read -P 9 5184k 960k',
        'read -P 0 6M 1M',
      ],
    );
    expect(stdout).not.toMatch(/fail|error/i);
    const view = await run('qemu-io', ['-r', '-f', 'raw', '-c', 'read -P 9 0 8M', volume.uri('disk@s1')]);
    expect(view.stdout).not.toMatch(/fail|error/i);
    const expected = Buffer.alloc(8 * MIB, 9);
    expected
      .fill(0x11, 0, MIB)
      .fill(0x22, MIB, MIB + 64 * KIB)
      .fill(0x33, 2 * MIB, 3 * MIB);
    expected.fill(0, 3 * MIB, 5 * MIB + 64 * KIB).fill(0, 6 * MIB, 7 * MIB);
    expect(
      readFileSync(volume.image)
        .subarray(0, 8 * MIB)
        .equals(expected),
    ).toBe(true);
  });
});

const describeFio = await describeWithPrograms('fio', 'nbdcopy');
describeFio('fio', () => {
  test('four connections of random writes verify, while moments are frozen and read', async () => {
    await using volume = await conformanceVolume(SIZE);
    const seed = randomInt(2 ** 32);
    const going = run(
      'fio',
      [
        ...['--name=verify', '--ioengine=nbd', `--uri=${volume.uri()}`, '--rw=randwrite', '--bsrange=512-128k', '--numjobs=4'],
        ...['--size=16m', '--offset_increment=16m', '--iodepth=16', '--verify=crc32c', '--do_verify=1', '--verify_fatal=1', '--loops=3'],
        ...[`--randseed=${seed}`, '--output-format=json', '--group_reporting', '--fsync=64'],
      ],
      // It leaves the state of a verification where it runs.
      { cwd: volume.folder },
    );
    let over = false;
    const watched = going.finally(() => (over = true));
    const copies: boolean[] = [];
    for (let i = 0; i < 3 && !over; i++) {
      await volume.freeze(`s${i}`);
      const of = volume.uri(`disk@s${i}`);
      const [once, again] = ['once', 'again'].map((name) => path.join(volume.folder, name)) as [string, string];
      await run('nbdcopy', [of, once]);
      await sleep(50);
      await run('nbdcopy', [of, again]);
      copies.push(readFileSync(once).equals(readFileSync(again)));
      await volume.close(`s${i}`);
    }
    const { stdout } = await watched;
    const told = JSON.parse(stdout.slice(stdout.indexOf('{'))) as { readonly jobs: readonly { readonly error: number }[] };
    expect([seed, told.jobs.map((job) => job.error)]).toEqual([seed, [0]]);
    expect(copies).not.toContain(false);
    expect(copies.length).toBeGreaterThan(0);
  });
});
