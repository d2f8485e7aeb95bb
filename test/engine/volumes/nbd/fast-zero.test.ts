/** FAST_ZERO: a hole, or ENOTSUP at once with nothing changed; zeros are never written out for it. */
import { execFile, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, expect, test } from '@jest/globals';
import { openFileExport } from '../../../../src/engine/volumes/file-export.ts';
import { transmissionFlags } from '../../../../src/engine/volumes/nbd/negotiation.ts';
import { COMMAND, COMMAND_FLAG, ERRNO, TRANSMISSION } from '../../../../src/engine/volumes/nbd/protocol.ts';
import { serveNbd } from '../../../../src/engine/volumes/nbd/server.ts';
import { describeWithPrograms } from '../../../describe-with-programs.ts';
import { inTransmission, request } from './raw-client.ts';
import { serveFile } from './serve-file.ts';

const MIB = 1024 * 1024;
const SIMPLE = 16;
const folders: string[] = [];
afterAll(() => {
  if (ramfs !== null) spawnSync('umount', [ramfs]);
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

function fullFile(folder: string) {
  folders.push(folder);
  const file = path.join(folder, 'disk.img');
  const content = randomBytes(4 * MIB);
  writeFileSync(file, content);
  return { file, content };
}

/** The errors of zeros of the second MiB with these flags, one after another. */
async function zeroWith(
  file: string,
  flags: readonly number[],
): Promise<{ readonly offered: boolean; readonly errors: readonly number[] }> {
  await using served = await openFileExport(file, { name: 'disk', description: '', sizeBytes: 4 * MIB, readOnly: false });
  await using server = await serveNbd({ host: '127.0.0.1', port: 0 }, { exports: () => [served] });
  const { client, from } = await inTransmission(server.address);
  using _ = client;
  const errors: number[] = [];
  for (const [i, flag] of flags.entries()) {
    client.socket.write(request(COMMAND.WRITE_ZEROES, 1n, MIB, MIB, flag));
    expect(await client.until(from + (i + 1) * SIMPLE)).toBe(true);
    errors.push(client.received().readUInt32BE(from + i * SIMPLE + 4));
  }
  return { offered: (transmissionFlags(served) & TRANSMISSION.SEND_FAST_ZERO) !== 0, errors };
}

const FAST = COMMAND_FLAG.FAST_ZERO;

test('where holes can be made it makes one; one that must not be a hole is refused, and changes nothing', async () => {
  const { file, content } = fullFile(mkdtempSync(path.join(tmpdir(), 'hf-fast-zero-')));
  expect(await zeroWith(file, [FAST | COMMAND_FLAG.NO_HOLE])).toEqual({ offered: true, errors: [ERRNO.ENOTSUP] });
  expect(readFileSync(file).equals(content)).toBe(true);
  const before = statSync(file).blocks;
  // Serving a file is no reason to touch it.
  const { mtimeNs } = statSync(file, { bigint: true });
  await zeroWith(file, []);
  expect(statSync(file, { bigint: true }).mtimeNs).toBe(mtimeNs);
  expect((await zeroWith(file, [FAST])).errors).toEqual([0]);
  expect(readFileSync(file).equals(content.fill(0, MIB, 2 * MIB))).toBe(true);
  expect(statSync(file)).toMatchObject({ size: 4 * MIB, blocks: before - MIB / 512 });
  // Without the flag the same request is carried out, at its price.
  expect((await zeroWith(file, [COMMAND_FLAG.NO_HOLE])).errors).toEqual([0]);
  expect(statSync(file).blocks).toBe(before);
});

/** A file system that knows no holes at all; null: this is not root, or it may not mount. */
function mountRamfs(): string | null {
  const folder = mkdtempSync(path.join(tmpdir(), 'hf-ramfs-'));
  folders.push(folder);
  return spawnSync('mount', ['-t', 'ramfs', 'ramfs', folder]).status === 0 ? folder : null;
}

const ramfs = mountRamfs();
if (ramfs === null) process.stderr.write('\n*** SKIPPED: tests that mount a ramfs, which is not allowed here\n\n');

(ramfs === null ? test.skip : test)(
  'where none can be made a fast zero is refused, and changes nothing; plain zeros are written',
  async () => {
    const { file, content } = fullFile(mkdtempSync(path.join(ramfs ?? '', 'disk-')));
    expect(await zeroWith(file, [FAST])).toEqual({ offered: true, errors: [ERRNO.ENOTSUP] });
    expect(readFileSync(file).equals(content)).toBe(true);
    expect((await zeroWith(file, [0])).errors).toEqual([0]);
    expect(readFileSync(file).equals(content.fill(0, MIB, 2 * MIB))).toBe(true);
  },
);

const describeQemu = await describeWithPrograms('qemu-io');
describeQemu('QEMU', () => {
  test('zeros that may be unmapped are a hole; it is told that fast zeros are there, and falls back where they are refused', async () => {
    await using served = await serveFile(8 * MIB);
    const io = (command: string) => promisify(execFile)('qemu-io', ['-f', 'raw', '-c', command, served.uri()]);
    await io('write -P 7 0 8M');
    const full = statSync(served.file).blocks;
    // -n: fast or not at all.
    await io('write -z -u -n 1M 1M');
    expect(statSync(served.file).blocks).toBe(full - MIB / 512);
    expect((await io('write -z -n 4M 1M').catch((error: { stdout: string }) => error)).stdout).toMatch(/Operation not supported/);
    await io('read -P 7 4M 1M');
    await io('write -z 4M 1M');
    await io('read -P 0 4M 1M');
    expect(statSync(served.file).blocks).toBe(full - MIB / 512);
  });
});
