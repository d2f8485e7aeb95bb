/**
 * The compressions that kafkajs leaves to others: whoever reads a topic does not choose how it is produced, and a batch that cannot be
 * opened would stop its partition. What is produced here is zstd, by Node's own zlib, or not compressed.
 */
import { promisify } from 'node:util';
import { zstdCompress } from 'node:zlib';
import kafkajs from 'kafkajs';
import { decompress } from './decompression.ts';

const zstd = promisify(zstdCompress);

interface Encoder {
  readonly buffer: Buffer;
}

/** kafkajs keeps codecs for the process; setting one again changes nothing. */
export function installCodecs(): void {
  const { Snappy, LZ4, ZSTD } = kafkajs.CompressionTypes;
  for (const type of [Snappy, LZ4, ZSTD] as const) {
    const codec = () => ({
      compress: ({ buffer }: Encoder): Promise<Buffer> =>
        type === ZSTD ? zstd(buffer) : Promise.reject(new Error('nothing here produces this compression')),
      decompress: async (bytes: Buffer): Promise<Buffer> => decompress(type, bytes),
    });
    // An object by number, to which its types let nothing be added.
    (kafkajs.CompressionCodecs as Record<number, typeof codec>)[type] = codec;
  }
}
