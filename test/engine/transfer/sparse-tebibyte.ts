/** Ships a sparse tebibyte with little data in it to three stores, and prints what it took. Run by memory.test.ts as a process of its own. */
import { closeSync, ftruncateSync, openSync, readFileSync, writeSync } from 'node:fs';
import path from 'node:path';
import { EXTENT_BYTES_DEFAULT, GIB, MIB, SUBTREE_EXTENTS } from '../../../src/domain/limits.ts';
import { openFileSource } from '../../../src/engine/transfer/file-source.ts';
import { shipSubtree } from '../../../src/engine/transfer/ship-volume.ts';
import { Threads } from '../../../src/ground/threads/threads.ts';
import type { OpenPack } from '../../../src/engine/transfer/contract.ts';
import { MemoryRepository } from './memory-repository.ts';
import { temporaryFolder } from './volume-image.ts';

const SIZE = 1024 * GIB;
const DATA_EVERY = 4 * GIB;

/** Takes packs and lets their bytes go: what is measured is the pipeline. */
class ForgetfulRepository extends MemoryRepository {
  override putPack(pack: OpenPack): Promise<void> {
    this.putNames.push(pack.name);
    return Promise.resolve();
  }
}

using tmp = temporaryFolder();
const file = path.join(tmp.folder, 'tebibyte');
const fd = openSync(file, 'w');
ftruncateSync(fd, SIZE);
let written = 0;
for (let at = 0; at < SIZE; at += DATA_EVERY, written++)
  writeSync(fd, Buffer.alloc(EXTENT_BYTES_DEFAULT, `extent ${written}`), 0, EXTENT_BYTES_DEFAULT, at);
closeSync(fd);

await using threads = new Threads({ count: 2 });
await using source = await openFileSource(file);
const stores = ['a', 'b', 'c'].map((store) => new ForgetfulRepository({ store }));
const started = performance.now();
for (let subtree = 0; subtree < SIZE / EXTENT_BYTES_DEFAULT / SUBTREE_EXTENTS; subtree++)
  await shipSubtree({
    source,
    extentBytes: EXTENT_BYTES_DEFAULT,
    subtree,
    destinations: stores.map((destination) => ({ destination, selection: { kind: 'all' } })),
    threads,
  });
for (const store of stores) store.commit();
console.log(
  JSON.stringify({
    seconds: (performance.now() - started) / 1000,
    peakBytes: peakBytes(),
    bufferBytes: threads.buffers.allocatedBytes,
    extents: stores.map((store) => store.map.size),
    written,
    readMib: source.readBytes / MIB,
  }),
);

/** VmHWM: unlike ru_maxrss it does not carry over what the parent had before exec. */
function peakBytes(): number {
  return Number(/VmHWM:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? 0) * 1024;
}
