/**
 * Whether recovered disks are good, by whoever knows best: the operator's program, the file system's own checker, or, for what is neither, a
 * whole read.
 *
 *     <home>/hooks/<journal>/check      with the files as arguments, in the order of the group; 0: they are good
 *
 * The files are nobody else's and are thrown away: a checker may write to them, as the one of ext4 does when it plays its journal back.
 */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { open, type FileHandle } from 'node:fs/promises';
import { promisify } from 'node:util';
import { findCheck } from '../../../engine/volumes/hooks.ts';
import { hasErrno } from '../../../ground/stores/file-errors.ts';

export interface Check {
  /** The program that was asked, or how it was read. */
  readonly by: string;
  readonly passed: boolean;
  /** What was said, or the digest of what was read. */
  readonly said: string;
}

export interface CheckCall {
  readonly hooksFolder: string;
  readonly signal: AbortSignal;
  readonly onRead: (bytes: number) => void;
}

const CHECK_WITHIN_MS = 4 * 3600 * 1000;
const SAID_CHARACTERS_MAX = 500;
const STEP_BYTES = 4 * 1024 * 1024;

export async function checkFiles(journal: string, files: readonly string[], call: CheckCall): Promise<readonly Check[]> {
  const program = await findCheck(call.hooksFolder, journal);
  if (program !== null) return [await run(program, files, call.signal)];
  const checks: Check[] = [];
  for (const file of files)
    checks.push(((await looksLikeExt(file)) ? await fsck(file, call.signal) : null) ?? (await readWhole(file, call)));
  return checks;
}

async function run(program: string, args: readonly string[], signal: AbortSignal, by = program): Promise<Check> {
  const options = { timeout: CHECK_WITHIN_MS, killSignal: 'SIGKILL', maxBuffer: 1024 * 1024, signal } as const;
  try {
    const { stdout } = await promisify(execFile)(program, args, options);
    return { by, passed: true, said: lastOf(stdout) };
  } catch (error) {
    if (signal.aborted || hasErrno(error, 'ENOENT')) throw error;
    const { stdout = '', stderr = '' } = error as { readonly stdout?: string; readonly stderr?: string };
    return { by, passed: false, said: lastOf(`${stdout}\n${stderr}`) || String(error).slice(0, SAID_CHARACTERS_MAX) };
  }
}

const lastOf = (text: string): string => text.trim().slice(-SAID_CHARACTERS_MAX);

const SUPERBLOCK = { at: 1024, bytes: 128, magicAt: 56, magic: 0xef53, incompatAt: 96, needsRecovery: 0x4 } as const;

async function superblockOf(file: string): Promise<Buffer> {
  await using handle = await open(file, 'r');
  const block = Buffer.alloc(SUPERBLOCK.bytes);
  await handle.read(block, 0, block.length, SUPERBLOCK.at);
  return block;
}

const looksLikeExt = async (file: string): Promise<boolean> =>
  (await superblockOf(file)).readUInt16LE(SUPERBLOCK.magicAt) === SUPERBLOCK.magic;

/** A point is a crash to a file system: its journal is played back first, as a mount does. Null: there is no such program here. */
async function fsck(file: string, signal: AbortSignal): Promise<Check | null> {
  const by = 'e2fsck -fn';
  try {
    const needsRecovery = ((await superblockOf(file)).readUInt32LE(SUPERBLOCK.incompatAt) & SUPERBLOCK.needsRecovery) !== 0;
    if (needsRecovery) await run('e2fsck', ['-y', '-E', 'journal_only', file], signal);
    return await run('e2fsck', ['-fn', file], signal, by);
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return null;
    throw error;
  }
}

async function readWhole(file: string, { signal, onRead }: CheckCall): Promise<Check> {
  await using handle: FileHandle = await open(file, 'r');
  const hash = createHash('sha256');
  const step = Buffer.alloc(STEP_BYTES);
  for (let at = 0; ;) {
    signal.throwIfAborted();
    const { bytesRead } = await handle.read(step, 0, step.length, at);
    if (bytesRead === 0) return { by: 'read', passed: true, said: `${at} bytes, SHA-256 ${hash.digest('hex')}` };
    hash.update(step.subarray(0, bytesRead));
    at += bytesRead;
    onRead(bytesRead);
  }
}
