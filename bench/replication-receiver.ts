/** A receiver in a process of its own, for its memory: `node replication-receiver.ts FOLDER`, which is a home of the bench with tokens. */
import path from 'node:path';
import { createReceiving } from '../src/engine/replication/receiving/receiving.ts';
import { authorise } from '../src/engine/replication/tokens.ts';
import { serveReceiver } from '../src/engine/replication/transport/server.ts';
import { tightenAllocator } from '../src/ground/libc/allocator.ts';
import { Threads } from '../src/ground/threads/threads.ts';
import { openBenchHome } from './installation.ts';

const [folder = ''] = process.argv.slice(2);
tightenAllocator();
const home = await openBenchHome(folder, 'cache');
const threads = new Threads();
const receiving = await createReceiving({ home, threads, folder: path.join(folder, 'sessions') });
const { tokens } = await home.catalog.sync();
const server = await serveReceiver({
  listen: { host: '127.0.0.1', port: 0 },
  tls: null,
  hearing: receiving,
  authorise: (header, certificate) => authorise(tokens, header, certificate, Date.now()),
});
process.once('SIGTERM', () => {
  void (async () => {
    await server[Symbol.asyncDispose]();
    await receiving[Symbol.asyncDispose]();
    await threads[Symbol.asyncDispose]();
    await home[Symbol.asyncDispose]();
    process.disconnect();
  })();
});
process.send?.(server.address);
