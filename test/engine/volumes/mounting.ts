/**
 * File systems that the kernel mounts: on a served volume, and on an image file.
 *
 * The kernel reaches a volume as a user without an NBD driver does: nbdfuse makes the export a file, and that is mounted over a loop
 * device. Whatever becomes of a test, or of whoever serves the volume, nothing stays mounted: what is busy is unmounted lazily, and
 * an nbdfuse that nobody needs any more is killed, so that whoever still waits for the disk gets an error and not silence.
 *
 * Where nothing can be mounted tests are skipped loudly; `.ci/run` counts a skip as a failure.
 */
import { execFile, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { describe, expect } from '@jest/globals';
import { describeWithPrograms } from '../../describe-with-programs.ts';

const env = { ...process.env, PATH: `${process.env['PATH']}:/usr/sbin:/sbin` };
const APPEARS_WITHIN_MS = 30_000;
/** What writes a file system back may take so long on a busy machine. */
const LETS_GO_WITHIN_MS = 30_000;
/** An nbdfuse that nothing is asked of. */
const ENDS_WITHIN_MS = 5000;
const POLL_MS = 50;

/** A program of the system, those of /sbin, too. */
export const run = (program: string, ...args: readonly string[]) => promisify(execFile)(program, args, { env });

/** Why nothing can be mounted through FUSE and a loop device here, or null. */
function obstacle(): string | null {
  if (process.getuid?.() !== 0) return 'only root mounts';
  for (const device of ['/dev/fuse', '/dev/loop-control']) if (!existsSync(device)) return `there is no ${device}`;
  const folder = mkdtempSync(path.join(tmpdir(), 'hf-mount-'));
  try {
    const mounted = spawnSync('mount', ['-t', 'tmpfs', 'tmpfs', folder], { env });
    if (mounted.status !== 0) return `mount: ${String(mounted.stderr)}`;
    spawnSync('umount', [folder], { env });
    return null;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** `describe` for tests that mount volumes, with these programs besides those that mounting needs. */
export async function describeWithMounts(...programs: readonly string[]): Promise<typeof describe | typeof describe.skip> {
  const describePrograms = await describeWithPrograms('nbdfuse', 'mke2fs', 'mount', 'losetup', ...programs);
  const why = obstacle();
  if (why === null) return describePrograms;
  process.stderr.write(`\n*** SKIPPED: tests that mount a served volume: ${why}\n\n`);
  // Loudly: `.ci/run` counts it as a failure.
  return describe.skip;
}

export interface Mounted extends AsyncDisposable {
  readonly folder: string;
}

/** An image file with a file system on it. It is played back first, where it needs that. */
export async function mountImage(image: string, folder: string): Promise<Mounted> {
  mkdirSync(folder, { recursive: true });
  await run('mount', '-o', 'loop', image, folder);
  return { folder, [Symbol.asyncDispose]: () => unmount(folder) };
}

/** A served volume gets a file system, and is mounted on `folder`; what nbdfuse makes of it is beside that. */
export async function mountVolume(uri: string, folder: string): Promise<Mounted> {
  const fuse = `${folder}.fuse`;
  mkdirSync(fuse);
  const disk = path.join(fuse, 'nbd');
  const nbdfuse = spawn('nbdfuse', [disk, uri], { stdio: 'ignore', env });
  const hasEnded = (): boolean => nbdfuse.exitCode !== null || nbdfuse.signalCode !== null;
  const ended = new Promise((resolve) => nbdfuse.once('exit', resolve).once('error', resolve));
  const unfuse = async (): Promise<void> => {
    await unmount(fuse);
    const late = setTimeout(() => nbdfuse.kill('SIGKILL'), ENDS_WITHIN_MS);
    await ended;
    clearTimeout(late);
  };
  try {
    for (const deadline = Date.now() + APPEARS_WITHIN_MS; !existsSync(disk); await sleep(POLL_MS))
      if (hasEnded() || Date.now() > deadline) throw new Error(`nbdfuse makes no file of ${uri}`);
    await run('mke2fs', '-q', '-F', '-t', 'ext4', disk);
    const mounted = await mountImage(disk, folder);
    return {
      folder,
      async [Symbol.asyncDispose]() {
        await mounted[Symbol.asyncDispose]();
        await unfuse();
      },
    };
  } catch (error) {
    await unfuse();
    throw error;
  }
}

/** Lazily, when it is busy for too long: then it goes with its last user. */
async function unmount(folder: string): Promise<void> {
  for (const deadline = Date.now() + LETS_GO_WITHIN_MS; ; await sleep(POLL_MS)) {
    const failed = await run('umount', folder).catch((error: unknown) => String(error));
    if (typeof failed !== 'string' || /not mounted|no mount point/i.test(failed)) return;
    if (Date.now() > deadline) return void (await run('umount', '-l', folder));
  }
}

/** What a mount after a power cut does: it replays the journal, and counts again what ext4 does not keep in it. */
export async function replayJournal(image: string): Promise<void> {
  await using _ = await mountImage(image, `${image}.mounted`);
}

/** A file system that is not mounted has nothing that e2fsck would mend. */
export async function expectClean(image: string): Promise<void> {
  const { stdout } = await run('e2fsck', '-fn', image);
  expect(stdout).not.toMatch(/WARNING|error|fix/i);
}
