/**
 * The server before real clients: libnbd (nbdinfo, nbdcopy), QEMU (qemu-img, qemu-io) and fio. Whatever they can do to
 * nbdkit or qemu-nbd they can do to it.
 */
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from '@jest/globals';
import { describeWithPrograms } from '../../../describe-with-programs.ts';
import { createCertificates } from './certificates.ts';
import { serveFile, type ServedFile } from './serve-file.ts';

const run = promisify(execFile);
const MIB = 1024 * 1024;
const SIZE = 64 * MIB;

const qemuIo = (served: ServedFile, ...commands: readonly string[]): Promise<{ readonly stdout: string }> =>
  run('qemu-io', ['-f', 'raw', ...commands.flatMap((command) => ['-c', command]), served.uri()]);

const describeLibnbd = await describeWithPrograms('nbdinfo', 'nbdcopy');
describeLibnbd('libnbd', () => {
  test('nbdinfo sees size, structured replies, every capability and the contexts', async () => {
    await using served = await serveFile(SIZE);
    const { stdout } = await run('nbdinfo', ['--json', served.uri()]);
    const told = JSON.parse(stdout) as { readonly structured: boolean; readonly exports: readonly object[] };
    expect(told).toMatchObject({ protocol: 'newstyle-fixed', structured: true });
    expect(told.exports[0]).toMatchObject({
      ...{ 'export-name': 'disk', description: 'a disk for tests', 'export-size': SIZE, contexts: ['base:allocation'] },
      ...{ is_read_only: false, can_df: true, can_flush: true, can_fua: true, can_multi_conn: true, can_trim: true, can_zero: true },
      ...{ can_cache: true, block_size_minimum: 1, block_size_preferred: 4096, block_size_maximum: 32 * MIB },
    });
  });

  test('nbdinfo lists, and is told of an export that is not there', async () => {
    await using served = await serveFile(SIZE);
    expect((await run('nbdinfo', ['--list', served.uri('')])).stdout).toContain('export="disk"');
    await expect(run('nbdinfo', [served.uri('other')])).rejects.toMatchObject({
      stderr: expect.stringContaining('No such file or directory for export: other'),
    });
  });

  test('nbdinfo maps data and holes', async () => {
    await using served = await serveFile(SIZE);
    await qemuIo(served, 'write -P 7 8M 1M', 'write -P 8 32M 64k');
    const { stdout } = await run('nbdinfo', ['--map', '--json', served.uri()]);
    const map = JSON.parse(stdout) as readonly { readonly offset: number; readonly length: number; readonly type: number }[];
    expect(map.map(({ offset, length, type }) => [offset, length, type])).toEqual([
      [0, 8 * MIB, 3],
      [8 * MIB, MIB, 0],
      [9 * MIB, 23 * MIB, 3],
      [32 * MIB, 64 * 1024, 0],
      [32 * MIB + 64 * 1024, SIZE - 32 * MIB - 64 * 1024, 3],
    ]);
  });

  test.each([1, 4])('nbdcopy both ways over %i connections; holes stay holes', async (connections) => {
    await using served = await serveFile(SIZE);
    const source = path.join(served.folder, 'source.img');
    const content = Buffer.alloc(SIZE);
    for (const at of [0, 5 * MIB, 40 * MIB]) content.set(randomBytes(3 * MIB + 17), at);
    writeFileSync(source, content);
    await run('nbdcopy', [`--connections=${connections}`, '--flush', source, served.uri()]);
    expect(readFileSync(served.file).equals(content)).toBe(true);
    expect(statSync(served.file).blocks * 512).toBeLessThan(12 * MIB);
    const back = path.join(served.folder, 'back.img');
    await run('nbdcopy', [`--connections=${connections}`, served.uri(), back]);
    expect(readFileSync(back).equals(content)).toBe(true);
  });

  test('a read-only export is read, and takes no change', async () => {
    await using served = await serveFile(SIZE, { readOnly: true });
    const { stdout } = await run('nbdinfo', ['--json', served.uri()]);
    expect(JSON.parse(stdout)).toMatchObject({ exports: [{ is_read_only: true, can_trim: false, can_zero: false }] });
    await expect(run('nbdcopy', ['/dev/zero', served.uri()])).rejects.toThrow();
  });
});

const describeTls = await describeWithPrograms('nbdinfo', 'openssl');
describeTls('TLS', () => {
  test('a client with a certificate of the same authority is served; one without, and one in the clear, are not', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'hf-tls-'));
    await createCertificates(folder);
    const pem = {
      ca: readFileSync(path.join(folder, 'ca-cert.pem')),
      cert: readFileSync(path.join(folder, 'server-cert.pem')),
      key: readFileSync(path.join(folder, 'server-key.pem')),
    };
    await using served = await serveFile(SIZE, { tls: { policy: 'required', ...pem } });
    const uri = (certificates: string): string => `nbds+unix://localhost/disk?socket=${served.socket}&tls-certificates=${certificates}`;
    const { stdout } = await run('nbdinfo', [uri(folder)]);
    expect(stdout).toMatch(/newstyle-fixed with TLS[^]*export-size: 67108864/);
    await expect(run('nbdinfo', [served.uri()])).rejects.toThrow(/Operation not supported/);
    const stranger = path.join(folder, 'stranger');
    mkdirSync(stranger);
    await createCertificates(stranger);
    cpSync(path.join(folder, 'ca-cert.pem'), path.join(stranger, 'ca-cert.pem'));
    await expect(run('nbdinfo', [uri(stranger)])).rejects.toThrow();
    rmSync(folder, { recursive: true });
  });
});

const describeQemu = await describeWithPrograms('qemu-img', 'qemu-io');
describeQemu('QEMU', () => {
  test('qemu-img compares, converts and maps', async () => {
    await using served = await serveFile(SIZE);
    await qemuIo(served, 'write -P 1 1M 2M', 'write -P 2 60M 4M', 'flush');
    await run('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', served.file, served.uri()]);
    const copy = path.join(served.folder, 'copy.qcow2');
    await run('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', served.uri(), copy]);
    await run('qemu-img', ['compare', '-f', 'qcow2', '-F', 'raw', copy, served.file]);
    const { stdout } = await run('qemu-img', ['map', '--output=json', '-f', 'raw', served.uri()]);
    const data = (JSON.parse(stdout) as readonly { readonly start: number; readonly length: number; readonly data: boolean }[]).filter(
      (one) => one.data,
    );
    expect(data.map(({ start, length }) => [start, length])).toEqual([
      [MIB, 2 * MIB],
      [60 * MIB, 4 * MIB],
    ]);
  });

  test('qemu-io writes, forces, zeroes, discards and reads back', async () => {
    await using served = await serveFile(SIZE);
    const { stdout } = await qemuIo(
      served,
      'write -P 0x11 0 4M',
      'write -f -P 0x22 4M 64k',
      'write -z 1M 1M',
      'write -z -u 2M 512k',
      'discard 3M 1M',
      'flush',
      'read -P 0x11 0 1M',
      'read -P 0 1M 1536k',
      'read -P 0x22 4M 64k',
      'read -P 0 3M 1M',
    );
    expect(stdout).not.toMatch(/fail|error/i);
    const bytes = readFileSync(served.file);
    expect(bytes.subarray(0, MIB).every((byte) => byte === 0x11)).toBe(true);
    expect(bytes.subarray(MIB, 2 * MIB + 512 * 1024).every((byte) => byte === 0)).toBe(true);
  });

  test('a request past the end is refused, and the connection goes on', async () => {
    await using served = await serveFile(SIZE);
    const { stdout } = await qemuIo(served, 'write -P 3 0 64k', 'read -P 3 0 64k');
    expect(stdout).toContain('read 65536/65536');
  });
});

const describeFio = await describeWithPrograms('fio');
describeFio('fio', () => {
  test('four connections of random writes at random sizes verify', async () => {
    await using served = await serveFile(SIZE);
    // It leaves the state of a verification where it runs.
    const { stdout } = await run(
      'fio',
      [
        ...['--name=verify', '--ioengine=nbd', `--uri=${served.uri()}`, '--rw=randwrite', '--bsrange=512-128k', '--numjobs=4'],
        ...['--size=16m', '--offset_increment=16m', '--iodepth=16', '--verify=crc32c', '--do_verify=1', '--verify_fatal=1'],
        ...[`--randseed=${randomBytes(4).readUInt32BE(0)}`, '--output-format=json', '--group_reporting'],
      ],
      { cwd: served.folder },
    );
    const told = JSON.parse(stdout.slice(stdout.indexOf('{'))) as { readonly jobs: readonly { readonly error: number }[] };
    expect(told.jobs.map((job) => job.error)).toEqual([0]);
    expect(served.events.filter((event) => event.kind === 'failure')).toEqual([]);
  });
});
