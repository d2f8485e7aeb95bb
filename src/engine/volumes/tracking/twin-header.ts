/**
 * A header of a small file beside a volume, in two copies of 4,096 bytes, so that one of them is whole whenever a write of it stops.
 *
 *     crc32 u32 of the rest | length u32 | JSON with a `sequence`; of two that check the higher one counts
 */
import { crc32 } from 'node:zlib';
import type { z } from 'zod';
import type { RandomFile } from './random-file.ts';

const HEADER_BYTES = 4096;
const COPIES_AT = [0, HEADER_BYTES] as const;
/** Where the file goes on. */
export const HEADERS_BYTES = 2 * HEADER_BYTES;

interface Sequenced {
  readonly sequence: number;
}

function encode(header: Sequenced): Buffer {
  const text = Buffer.from(JSON.stringify(header));
  const bytes = Buffer.alloc(HEADER_BYTES);
  bytes.writeUInt32BE(text.length, 4);
  bytes.set(text, 8);
  bytes.writeUInt32BE(crc32(bytes.subarray(4)), 0);
  return bytes;
}

/** Both copies, for a file that is made as a whole. */
export const encodeTwins = (header: Sequenced): Buffer => Buffer.concat([encode(header), encode(header)]);

/** Durable when it resolves; one copy after the other. */
export async function writeTwins(file: RandomFile, header: Sequenced): Promise<void> {
  for (const at of COPIES_AT) {
    await file.write(encode(header), at);
    await file.sync();
  }
}

/** The newest copy that checks and fits; null: none does. */
export async function readTwins<Header extends Sequenced>(file: RandomFile, schema: z.ZodType<Header>): Promise<Header | null> {
  const found: Header[] = [];
  for (const at of COPIES_AT) {
    const header = schema.safeParse(parse(await file.read(at, HEADER_BYTES))).data;
    if (header !== undefined) found.push(header);
  }
  return found.toSorted((a, b) => a.sequence - b.sequence).at(-1) ?? null;
}

/** Null: not what was written. */
function parse(bytes: Buffer): unknown {
  const length = bytes.readUInt32BE(4);
  if (bytes.readUInt32BE(0) !== crc32(bytes.subarray(4)) || length > HEADER_BYTES - 8) return null;
  try {
    return JSON.parse(bytes.toString('utf8', 8, 8 + length));
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}
