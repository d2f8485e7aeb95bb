/**
 * A served volume in a process of its own, for the conformance suite: `node conformance-node.ts IMAGE SOCKET STATE_FOLDER`. It
 * freezes and lets go what its parent asks for, stops cleanly on SIGTERM, and may be killed at any moment.
 */
import { statSync } from 'node:fs';
import { serveNbd } from '../../../src/engine/volumes/nbd/server.ts';
import { ServedVolume, type Freeze } from '../../../src/engine/volumes/served-volume.ts';
import type { NodeOrder } from './conformance-volume.ts';

const [image = '', socket = '', stateFolder = ''] = process.argv.slice(2);
const { size: sizeBytes } = statSync(image);
const volume = await ServedVolume.open({
  ...{ name: 'disk', path: image, sizeBytes, extentBytes: 64 * 1024, stateFolder },
  preserveBytesMax: sizeBytes,
});
const server = await serveNbd({ path: socket }, { exports: () => volume.exports() });
const views = new Map<string, Freeze>();

async function obey({ kind, snapshot }: NodeOrder): Promise<void> {
  if (kind === 'freeze') views.set(snapshot, await volume.freeze(snapshot));
  else await views.get(snapshot)?.close();
}

process.on('message', (order: NodeOrder) => {
  void obey(order).then(
    () => process.send?.({ kind: 'done' }),
    (error: unknown) => process.send?.({ kind: 'failed', why: String(error) }),
  );
});
process.once('SIGTERM', () => {
  void server
    .close(1000)
    .then(() => volume.stop())
    .then(() => process.disconnect());
});
process.send?.({ kind: 'done' });
