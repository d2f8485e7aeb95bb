/**
 * What of a node's files is on the disk: the page cache of a machine that is lost is gone. The node keeps a ledger of what is not durable yet;
 * whoever loses the machine takes that away, as chance has it.
 *
 *     a segment of the write-ahead file     the range that was written since the last sync; of one that syncs with each write, what is under way
 *     an image                              its bytes when the last sync that succeeded was asked for, in a file beside it
 */
import fs, { constants, existsSync, readdirSync, readFileSync, renameSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import path from 'node:path';
import type { Dice } from '../volumes/dice.ts';
import { BLOCK } from './history.ts';

/** By inode: from where to where. */
type Ledger = Record<string, { readonly from: number; readonly to: number }>;

const fileOf = (folder: string): string => path.join(folder, 'ledger.json');
const copyOf = (image: string): string => `${image}.durable`;
const ledgerOf = (folder: string): Ledger =>
  existsSync(fileOf(folder)) ? (JSON.parse(readFileSync(fileOf(folder), 'utf8')) as Ledger) : {};

/** From now on this process keeps the ledger of its files below `folder`. Before anything that writes is imported. */
export async function keepLedger(folder: string): Promise<void> {
  const ledger = ledgerOf(folder);
  const say = (): void => replace(fileOf(folder), JSON.stringify(ledger));
  const placeOf = (fd: number): string => fs.readlinkSync(`/proc/self/fd/${fd}`);
  const isSegment = (place: string): boolean => place.endsWith('.wal') || place.endsWith('.spare');
  const durable = (fd: number): void => {
    Reflect.deleteProperty(ledger, fs.fstatSync(fd).ino);
    say();
  };

  /** To be called before a sync; what it gives, when that has succeeded. */
  const syncing = (fd: number): (() => void) => {
    const place = placeOf(fd);
    if (isSegment(place)) return () => durable(fd);
    if (!place.endsWith('.img')) return () => undefined;
    const bytes = readFileSync(place);
    return () => replace(copyOf(place), bytes);
  };
  /** The same for a write. One at a time is under way in a segment. */
  const writing = (fd: number, at: number, length: number): (() => void) => {
    if (!isSegment(placeOf(fd))) return () => undefined;
    const { ino } = fs.fstatSync(fd);
    const { from = at, to = at } = ledger[ino] ?? {};
    ledger[ino] = { from: Math.min(from, at), to: Math.max(to, at + length) };
    say();
    const flags = /flags:\s+(\d+)/.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1] ?? '0';
    return () => ((Number.parseInt(flags, 8) & constants.O_DSYNC) === 0 ? undefined : durable(fd));
  };

  await using probe = await open('/dev/null');
  const handle = Object.getPrototypeOf(probe) as FileHandle;
  for (const name of ['sync', 'datasync'] as const) {
    // Called on the handle that it belongs to.
    const sync = Reflect.get(handle, name) as () => Promise<void>;
    Reflect.set(handle, name, async function noting(this: FileHandle) {
      const note = syncing(this.fd);
      await sync.call(this);
      note();
    });
  }
  const write = Reflect.get(handle, 'write') as (...args: unknown[]) => Promise<unknown>;
  Reflect.set(handle, 'write', async function noting(this: FileHandle, ...args: unknown[]) {
    const [, , length, at] = args;
    const note = typeof length === 'number' && typeof at === 'number' ? writing(this.fd, at, length) : () => undefined;
    const written = await write.apply(this, args);
    note();
    return written;
  });
  const { fdatasync } = fs;
  Reflect.set(fs, 'fdatasync', (fd: number, done: fs.NoParamCallback): void => {
    const note = syncing(fd);
    fdatasync(fd, (error) => {
      if (error === null) note();
      done(error);
    });
  });
  syncBuiltinESMExports();
}

function replace(file: string, bytes: string | Buffer): void {
  writeFileSync(`${file}.new`, bytes);
  renameSync(`${file}.new`, file);
}

/** The machine of a node that was killed is lost, and comes back: what was not durable is there, or not, block by block, a segment from its beginning. */
export function loseMachine(folder: string, disks: readonly string[], dice: Dice): void {
  const share = dice.pick([0, 0.5, 0.9]);
  for (const disk of disks) {
    const file = path.join(folder, `${disk}.img`);
    const image = readFileSync(file);
    const durable = existsSync(copyOf(file)) ? readFileSync(copyOf(file)) : Buffer.alloc(image.length);
    for (let at = 0; at < image.length; at += BLOCK) if (!dice.chance(share)) durable.copy(image, at, at, at + BLOCK);
    writeFileSync(file, image, { flag: 'r+' });
  }
  const group = path.join(folder, 'disks/.journals/j');
  const ledger = ledgerOf(folder);
  const writeAhead = path.join(group, 'wal');
  for (const life of existsSync(writeAhead) ? readdirSync(writeAhead) : [])
    for (const name of readdirSync(path.join(writeAhead, life))) loseEnd(path.join(writeAhead, life, name), ledger, dice);
  replace(fileOf(folder), '{}');
  const state = path.join(group, 'state.json');
  writeFileSync(state, JSON.stringify({ ...(JSON.parse(readFileSync(state, 'utf8')) as object), boot: 'the one before' }));
}

function loseEnd(segment: string, ledger: Ledger, dice: Dice): void {
  const { ino, size } = statSync(segment);
  const lost = ledger[ino];
  if (lost === undefined || lost.from >= size) return;
  const from = dice.chance(0.5) ? lost.from : dice.between(lost.from, Math.min(lost.to, size));
  if (lost.to >= size && dice.chance(0.5)) return truncateSync(segment, from);
  const bytes = readFileSync(segment);
  bytes.fill(0, from, Math.min(lost.to, size));
  writeFileSync(segment, bytes, { flag: 'r+' });
}
