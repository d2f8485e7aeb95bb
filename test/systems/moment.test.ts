/** What a capture reads where its source can be frozen: a copy that shares the file's blocks, and hooks around its making. */
import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { newSnapshotId, volumeName } from '../../src/domain/ids.ts';
import { openHost, type Host } from '../../src/engine/volumes/host.ts';
import { freezeMoment, releaseMoment } from '../../src/systems/shipping/moment.ts';
import { attachLoopDevice, describeWithLoopDevices, type LoopDevice } from './loop-device.ts';

const VOLUME = volumeName('db');
const MIB = 1024 * 1024;
const system = (command: string, ...args: readonly string[]): void =>
  void execFileSync(command, args, { stdio: 'pipe', env: { ...process.env, PATH: `${process.env['PATH']}:/usr/sbin:/sbin` } });

const describeDevices = describeWithLoopDevices();
describeDevices('a file on a file system that shares blocks', () => {
  let folder: string;
  let disk: LoopDevice;
  let image: string;
  let host: Host;

  beforeEach(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'hf-moment-'));
    disk = attachLoopDevice(folder, 'xfs', 320 * MIB);
    system('mkfs.xfs', '-q', '-m', 'reflink=1', disk.path);
    mkdirSync(path.join(folder, 'mnt'));
    system('mount', disk.path, path.join(folder, 'mnt'));
    image = path.join(folder, 'mnt', 'db.img');
    writeFileSync(image, Buffer.alloc(4 * MIB, 1));
    host = openHost('n1', folder);
  });
  afterEach(() => {
    system('umount', path.join(folder, 'mnt'));
    disk.detach();
    rmSync(folder, { recursive: true, force: true });
  });

  const plan = () => ({ volume: VOLUME, path: image, snapshot: newSnapshotId(Date.now(), Math.random) });

  test('is read as it was, whatever is written to it; and the copy goes', async () => {
    const of = plan();
    const moment = await freezeMoment(host, of);
    expect(moment).toMatchObject({ kind: 'reflink', consistency: 'crash' });
    writeFileSync(image, Buffer.alloc(4 * MIB, 2));
    expect(readFileSync(moment.source).every((byte) => byte === 1)).toBe(true);
    expect(await freezeMoment(host, of)).toEqual(moment);
    await releaseMoment(host, of, moment);
    await releaseMoment(host, of, moment);
    expect(readdirSync(path.dirname(image))).toEqual(['db.img']);
    expect((await freezeMoment(host, of)).identity).not.toBe(moment.identity);
  });

  test('with hooks it is of a moment at which the application rests', async () => {
    const log = path.join(folder, 'log');
    const hooks = path.join(host.hooksFolder, VOLUME);
    mkdirSync(hooks, { recursive: true });
    for (const name of ['freeze', 'thaw']) {
      writeFileSync(path.join(hooks, name), `#!/bin/sh\necho ${name} $(ls ${path.dirname(image)} | wc -l) >> ${log}\n`);
      chmodSync(path.join(hooks, name), 0o755);
    }
    expect(await freezeMoment(host, plan())).toMatchObject({ kind: 'reflink', consistency: 'application' });
    expect(readFileSync(log, 'utf8')).toBe('freeze 1\nthaw 2\n');
    // A moment that cannot be had brings nobody to rest.
    const elsewhere = path.join(folder, 'plain.img');
    writeFileSync(elsewhere, 'x');
    expect(await freezeMoment(host, { ...plan(), path: elsewhere })).toMatchObject({ kind: 'as it is', source: elsewhere });
    expect(readFileSync(log, 'utf8')).toBe('freeze 1\nthaw 2\n');
  });

  test('a hook of the host may make the copy: LVM, ZFS, an array', async () => {
    const hooks = path.join(host.hooksFolder, VOLUME);
    mkdirSync(hooks, { recursive: true });
    const install = (name: string, body: string): void => {
      writeFileSync(path.join(hooks, name), `#!/bin/sh -e\n${body}\n`);
      chmodSync(path.join(hooks, name), 0o755);
    };
    // As an operator would write it for LVM, with cp for lvcreate.
    install('snapshot', `copy="${folder}/mnt/$1-$2"; test -e "$copy" || cp --reflink=always "$3" "$copy"; echo "$copy"`);
    install('release', `rm -f "${folder}/mnt/$1-$2"`);
    const of = plan();
    const moment = await freezeMoment(host, of);
    expect(moment).toMatchObject({ kind: 'snapshot', consistency: 'crash', source: path.join(folder, 'mnt', `db-${of.snapshot}`) });
    writeFileSync(image, Buffer.alloc(4 * MIB, 2));
    expect(readFileSync(moment.source).every((byte) => byte === 1)).toBe(true);
    expect(await freezeMoment(host, of)).toEqual(moment);
    await releaseMoment(host, of, moment);
    expect(existsSync(moment.source)).toBe(false);
    for (const body of ['echo here', 'echo /nowhere', 'echo "no room in the group" >&2; exit 5']) {
      install('snapshot', body);
      await expect(freezeMoment(host, plan())).rejects.toMatchObject({ code: 'HOOK_FAILED' });
    }
    rmSync(path.join(hooks, 'release'));
    await expect(freezeMoment(host, plan())).rejects.toMatchObject({ code: 'HOOK_FAILED' });
  });

  test('what captures left behind that never ended is removed after a day, and nothing else', async () => {
    const left = await freezeMoment(host, plan());
    const other = `${image}.holdfast-not-a-snapshot`;
    writeFileSync(other, 'x');
    utimesSync(left.source, 0, 0);
    const soon = await freezeMoment(host, plan());
    expect(existsSync(left.source)).toBe(true);
    const tomorrow: Host = { ...host, nowMs: () => Date.now() + 25 * 3600 * 1000 };
    const later = await freezeMoment(tomorrow, plan());
    expect([left, soon, later].map(({ source }) => existsSync(source))).toEqual([false, false, true]);
    expect(existsSync(other)).toBe(true);
  });
});
