/**
 * A served volume with tracking on, in a process of its own: `node bench/volumes-nbd-server.ts IMAGE SOCKET STATE_FOLDER`. A parent
 * with a channel may have moments frozen, which are served as `disk@SNAPSHOT`, and let go.
 */
import { statSync } from 'node:fs';
import { serveNbd } from '../src/engine/volumes/nbd/server.ts';
import { ServedVolume, type Freeze } from '../src/engine/volumes/served-volume.ts';

export interface ServerOrder {
  readonly kind: 'freeze' | 'close';
  readonly snapshot: string;
}

/** How long the order took. */
export interface ServerAnswer {
  readonly ms: number;
}

const [image = '', socket = '', stateFolder = ''] = process.argv.slice(2);
const { size: sizeBytes } = statSync(image);
const volume = await ServedVolume.open({
  ...{ name: 'disk', path: image, sizeBytes, extentBytes: 256 * 1024, stateFolder },
  preserveBytesMax: sizeBytes,
});
const server = await serveNbd({ path: socket }, { exports: () => volume.exports() });
const views = new Map<string, Freeze>();

async function obey({ kind, snapshot }: ServerOrder): Promise<void> {
  const began = performance.now();
  if (kind === 'freeze') views.set(snapshot, await volume.freeze(snapshot));
  else await views.get(snapshot)?.close();
  process.send?.({ ms: performance.now() - began } satisfies ServerAnswer);
}

process.on('message', (order: ServerOrder) => void obey(order));
process.once('SIGTERM', () => {
  void server
    .close(200)
    .then(() => volume.stop())
    .then(() => (process.connected ? process.disconnect() : undefined));
});
