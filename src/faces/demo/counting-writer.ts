/**
 * A writer that counts: write n goes to place n mod PLACES and is answered before n + 1 is sent. So a snapshot of one moment
 * holds all writes up to some number and none after it, and every place of it says whether that is so.
 */
import type { NbdClient } from '../../engine/volumes/nbd/client.ts';
import { requireThat } from './step.ts';

export const BLOCK_BYTES = 4096;

export interface Load {
  readonly writes: number;
  readonly longestMs: number;
  readonly perSecond: number;
}

const blockOf = (serial: number): Buffer => {
  const block = Buffer.alloc(BLOCK_BYTES, serial & 0xff);
  block.writeUInt32BE(serial);
  return block;
};

/** Writes to the places, one after another, until it is told to stop. */
export function startCounting(client: NbdClient, places: readonly number[]): { readonly written: number; stop(): Promise<Load> } {
  let stopped = false;
  let serial = 0;
  const begunMs = performance.now();
  const running = (async (): Promise<Load> => {
    let longestMs = 0;
    while (!stopped) {
      serial++;
      const sentMs = performance.now();
      await client.write(blockOf(serial), places[serial % places.length] ?? 0);
      longestMs = Math.max(longestMs, performance.now() - sentMs);
    }
    return { writes: serial, longestMs, perSecond: serial / ((performance.now() - begunMs) / 1000) };
  })();
  // Told to whoever stops it.
  running.catch(() => undefined);
  return {
    get written() {
      return serial;
    },
    stop() {
      stopped = true;
      return running;
    },
  };
}

/** A disk, or an image of one: fills `into` from `offset`. */
export interface Readable {
  read(into: Buffer, offset: number): Promise<unknown>;
}

/** The last write that a disk holds, when every place of it agrees: PROOF_FAILED otherwise. */
export async function lastWriteIn(disk: Readable, places: readonly number[]): Promise<number> {
  const blocks: Buffer[] = [];
  for (const place of places) {
    const block = Buffer.alloc(BLOCK_BYTES);
    await disk.read(block, place);
    blocks.push(block);
  }
  const last = Math.max(...blocks.map((block) => block.readUInt32BE()));
  requireThat(last > places.length, `only ${last} writes are in it`);
  blocks.forEach((block, place) => {
    const expected = last - ((((last - place) % places.length) + places.length) % places.length);
    requireThat(block.equals(blockOf(expected)), `place ${place} does not hold write ${expected}, the last of it up to ${last}`);
  });
  return last;
}
