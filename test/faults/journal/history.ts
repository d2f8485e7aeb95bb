/**
 * What a client of the disks has asked for and was answered, as lines of a file: written by the client's process at once, in its order, and
 * read by who judges. Times are of the machine's clock that only goes forward, so that what other processes saw can be put beside it.
 */
import { readFileSync, writeSync } from 'node:fs';
import { Violation } from '../volumes/violation.ts';

export const BLOCK = 4096;

export type HistoryLine =
  /** Blocks `from` ... `from + count - 1` of a disk get the stamp of `id`, or zeros. */
  | ['change', id: number, disk: number, from: number, count: number, isZero: boolean, atMs: number]
  | ['answered', id: number, atMs: number]
  /** Its server died first; this was found afterwards: the blocks that have it. */
  | ['found', id: number, blocks: readonly number[], atMs: number]
  /** Its server's machine was lost: whatever was not promised by then may be gone. */
  | ['lost', atMs: number]
  /** ... and this is all that the disk holds, by block the id of a change, or 0. */
  | ['holds', disk: number, ids: readonly number[], atMs: number]
  | ['flush', id: number, atMs: number]
  /** A flush, or a change with FUA. */
  | ['promised', id: number, atMs: number]
  | ['refused', id: number, errno: number, atMs: number];

/** Milliseconds of this machine, the same in all processes. */
export const machineMs = (): number => Number(process.hrtime.bigint()) / 1e6;

export const writeLine = (fd: number, line: HistoryLine): void => void writeSync(fd, `${JSON.stringify(line)}\n`);

export interface Change {
  readonly id: number;
  readonly disk: number;
  readonly isZero: boolean;
  readonly asked: number;
  /** Infinity: not yet, or never. */
  answered: number;
  blocks: readonly number[];
}

export interface History {
  readonly changes: ReadonlyMap<number, Change>;
  /** Changes of a block, by `disk/block`, in the order in which they were asked for; no two of them were under way at once. */
  readonly blocks: ReadonlyMap<string, readonly Change[]>;
  /** Changes with FUA that were answered. */
  readonly durable: ReadonlySet<number>;
  /** Whatever was promised, from when it was asked for until it was answered. */
  readonly promises: readonly { readonly asked: number; readonly answered: number }[];
  readonly refusals: readonly { readonly errno: number; readonly atMs: number }[];
}

export const blockKey = (disk: number, block: number): string => `${disk}/${block}`;

/** `before`: changes that the disks held when this began, and nothing else; of them it is known no more that they were under way. */
export function readHistory(file: string, before: readonly Change[] = []): History {
  const changes = new Map(before.map((change) => [change.id, { ...change, answered: Math.min(change.answered, change.asked) }]));
  const durable = new Set<number>();
  const flushes = new Map<number, number>();
  const promises: { asked: number; answered: number }[] = [];
  const refusals: { errno: number; atMs: number }[] = [];
  let promisedBefore = 0;
  for (const line of readFileSync(file, 'utf8')
    .split('\n')
    .filter((text) => text !== '')) {
    const said = JSON.parse(line) as HistoryLine;
    switch (said[0]) {
      case 'change': {
        const [, id, disk, from, count, isZero, asked] = said;
        changes.set(id, { id, disk, isZero, asked, answered: Infinity, blocks: Array.from({ length: count }, (_, i) => from + i) });
        break;
      }
      case 'answered':
        settle(changes, said[1], said[2]);
        break;
      case 'found':
        settle(changes, said[1], said[3], said[2]);
        break;
      case 'lost':
        promisedBefore = Math.max(0, ...promises.map(({ asked }) => asked));
        break;
      case 'holds':
        adopt({ changes, durable, promisedBefore }, said[1], said[2], said[3]);
        break;
      case 'flush':
        flushes.set(said[1], said[2]);
        break;
      case 'promised':
        promises.push({ asked: flushes.get(said[1]) ?? changes.get(said[1])?.asked ?? 0, answered: said[2] });
        if (changes.has(said[1])) durable.add(said[1]);
        break;
      case 'refused':
        refusals.push({ errno: said[2], atMs: said[3] });
    }
  }
  const blocks = new Map<string, Change[]>();
  for (const change of changes.values())
    for (const block of change.blocks) {
      const key = blockKey(change.disk, block);
      const before = blocks.get(key);
      if (before === undefined) blocks.set(key, [change]);
      else before.push(change);
    }
  return { changes, blocks, durable, promises, refusals };
}

interface Known {
  readonly changes: ReadonlyMap<number, Change>;
  readonly durable: ReadonlySet<number>;
  readonly promisedBefore: number;
}

/** From now on no block had what came after what it holds. */
function adopt({ changes, durable, promisedBefore }: Known, disk: number, ids: readonly number[], atMs: number): void {
  const mine = [...changes.values()].filter((change) => change.disk === disk);
  for (const [block, id] of ids.entries()) {
    const its = mine.filter(({ blocks }) => blocks.includes(block));
    const held = its.findLastIndex((change) => (id === 0 ? change.isZero : change.id === id));
    if (held < 0 && id !== 0)
      throw new Violation(`block ${blockKey(disk, block)} holds ${id} after its machine was lost, and nobody wrote that there`);
    for (const change of its.slice(held + 1)) {
      if (change.answered < promisedBefore || durable.has(change.id))
        throw new Violation(`block ${blockKey(disk, block)} holds ${id} after its machine was lost: change ${change.id} was promised`);
      change.blocks = change.blocks.filter((one) => one !== block);
    }
  }
  for (const change of mine) change.answered = Math.min(change.answered, atMs);
}

function settle(changes: ReadonlyMap<number, Change>, id: number, atMs: number, blocks?: readonly number[]): void {
  const change = changes.get(id);
  if (change === undefined) return;
  change.answered = atMs;
  if (blocks !== undefined) change.blocks = blocks;
}
