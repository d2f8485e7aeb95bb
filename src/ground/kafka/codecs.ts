/** zstd for kafkajs, by Node's own zlib: producers compress with it, and a batch that cannot be opened would stop its partition. */
import { promisify } from 'node:util';
import { zstdCompress, zstdDecompress } from 'node:zlib';
import kafkajs from 'kafkajs';

const compress = promisify(zstdCompress);
const decompress = promisify(zstdDecompress);

interface Encoder {
  readonly buffer: Buffer;
}

/** kafkajs keeps codecs for the process; setting one again changes nothing. */
export function installCodecs(): void {
  kafkajs.CompressionCodecs[kafkajs.CompressionTypes.ZSTD] = () => ({
    compress: ({ buffer }: Encoder): Promise<Buffer> => compress(buffer),
    decompress: (buffer: Buffer): Promise<Buffer> => decompress(buffer),
  });
}
