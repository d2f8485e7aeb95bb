/** A replica as a process of its own that ends itself by SIGKILL at a named point. Its orders are its only argument; it says its address on stdout. */
import { setTimeout as sleep } from 'node:timers/promises';
import { createFileStore } from '../../../../src/ground/stores/file-store.ts';
import type { ObjectStore } from '../../../../src/ground/stores/object-store.ts';
import { MARK_PREFIX } from '../../../../src/ground/stores/replica-wire.ts';
import { withRetry } from '../../../../src/ground/stores/retrying.ts';
import { replicaFolderOf } from '../../../../src/systems/regions/replica/folder.ts';
import { createSegment, type SegmentFile } from '../../../../src/systems/regions/replica/log.ts';
import { serveReplica } from '../../../../src/systems/regions/replica/serving.ts';
import type { DyingOrders, Point } from './points.ts';

const { folder, store: root, segmentBytes, storeMs, kill, trustMs = 300_000 } = JSON.parse(process.argv[2] ?? '{}') as DyingOrders;
let met = 0;

async function meet(point: Point): Promise<void> {
  if (kill?.point !== point || ++met !== kill.nth) return;
  process.kill(process.pid, 'SIGKILL');
  // Nothing of it runs on.
  await sleep(60_000);
}

async function createFile(path: string): Promise<SegmentFile> {
  await meet('before a segment is made');
  const file = await createSegment(path);
  let isHeader = true;
  return {
    async write(buffers, at) {
      if (isHeader) {
        await file.write(buffers, at);
        isHeader = false;
        return await meet('after a segment is made');
      }
      await meet('before an entry is written');
      if (kill?.point === 'while an entry is written') {
        const whole = Buffer.concat(buffers);
        await file.write([whole.subarray(0, Math.floor((whole.length * 2) / 3))], at);
        await meet('while an entry is written');
      }
      await file.write(buffers, at);
      await meet('after an entry is durable');
    },
    close: () => file.close(),
  };
}

function trapped(store: ObjectStore): ObjectStore {
  return {
    ...store,
    async put(name, bytes, options) {
      const isMark = name.startsWith(MARK_PREFIX);
      await sleep(storeMs);
      await meet(isMark ? 'before the mark is put' : 'before a put to the store');
      const answer = await store.put(name, bytes, options);
      await meet(isMark ? 'after the mark is put' : 'after a put to the store');
      return answer;
    },
    async get(name, options) {
      await sleep(storeMs);
      const bytes = await store.get(name, options);
      if (!name.startsWith(MARK_PREFIX)) await meet('after a put was read back');
      return bytes;
    },
    async list(prefix, options) {
      const page = await store.list(prefix, options);
      if (prefix === '') await meet('after names are listed');
      return page;
    },
    async delete(names, options) {
      await sleep(storeMs);
      await meet('before a delete in the store');
      await store.delete(names, options);
      await meet('after a delete in the store');
    },
  };
}

const serving = await serveReplica({
  folder: replicaFolderOf(folder),
  store: withRetry(trapped(createFileStore({ root, durability: 'os' }))),
  ...{ host: 'dying', listen: { host: '127.0.0.1', port: 0 }, tls: null, createFile },
  limits: { segmentBytes, waitingObjects: 200, trustMs },
});
process.stdout.write(`${JSON.stringify({ url: serving.ear.url })}\n`);
// It ends with its starter, and not before.
process.stdin.resume().once('end', () => process.exit(0));
