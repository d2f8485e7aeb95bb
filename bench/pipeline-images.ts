/**
 * The two images of the pipeline's bench, made once and kept: 4 GiB of ext4 with 2.2 GiB of this machine's files, and 2 GiB
 * of rows of random digits, which compress by half.
 */
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  closeSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  writeSync,
  copyFileSync,
} from 'node:fs';
import path from 'node:path';

const GIB = 1024 ** 3;
const FILES_BYTES = 2.2 * GIB;

function* filesBelow(folder: string): Generator<string> {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const file = path.join(folder, entry.name);
    if (entry.isDirectory()) yield* filesBelow(file);
    else if (entry.isFile()) yield file;
  }
}

function placeFile(from: string, to: string): void {
  mkdirSync(path.dirname(to), { recursive: true });
  try {
    linkSync(from, to);
  } catch {
    copyFileSync(from, to);
  }
}

/** A tree of real files, hard links where possible. */
function gatherFiles(tree: string): void {
  let bytes = 0;
  for (const file of [...filesBelow('/usr/bin'), ...filesBelow('/usr/share'), ...filesBelow('/usr/lib')]) {
    const { size } = lstatSync(file);
    if (bytes + size > FILES_BYTES) continue;
    placeFile(file, path.join(tree, file));
    bytes += size;
  }
}

export function ext4Image(folder: string): string {
  const image = path.join(folder, 'ext4.img');
  if (existsSync(image)) return image;
  const tree = path.join(folder, 'tree');
  rmSync(tree, { recursive: true, force: true });
  gatherFiles(tree);
  const made = spawnSync('/sbin/mke2fs', ['-q', '-F', '-t', 'ext4', '-d', tree, `${image}.new`, '4G'], { encoding: 'utf8' });
  if (made.status !== 0) throw new Error(`mke2fs: ${made.stderr}`);
  renameSync(`${image}.new`, image);
  rmSync(tree, { recursive: true });
  return image;
}

export function rowsImage(folder: string): string {
  const image = path.join(folder, 'rows.img');
  if (existsSync(image)) return image;
  const fd = openSync(`${image}.new`, 'w');
  const chunk = 4 * 1024 * 1024;
  for (let at = 0, id = 0; at < 2 * GIB; at += chunk) {
    const digits = randomBytes(chunk / 2).toString('hex');
    let rows = '';
    for (let i = 0; rows.length < chunk; i += 64, id++) rows += `{"id":${id},"value":"${digits.slice(i, i + 64)}"}\n`;
    writeSync(fd, Buffer.from(rows.slice(0, chunk)), 0, chunk, at);
  }
  closeSync(fd);
  renameSync(`${image}.new`, image);
  return image;
}
