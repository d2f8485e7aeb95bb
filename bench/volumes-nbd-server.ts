/** A served volume with tracking on, in a process of its own: `node bench/volumes-nbd-server.ts IMAGE SOCKET STATE_FOLDER`. */
import { statSync } from 'node:fs';
import { serveNbd } from '../src/engine/volumes/nbd/server.ts';
import { ServedVolume } from '../src/engine/volumes/served-volume.ts';

const [image = '', socket = '', stateFolder = ''] = process.argv.slice(2);
const { size: sizeBytes } = statSync(image);
const volume = await ServedVolume.open({
  ...{ name: 'disk', path: image, sizeBytes, extentBytes: 256 * 1024, stateFolder },
  preserveBytesMax: sizeBytes,
});
const server = await serveNbd({ path: socket }, { exports: () => volume.exports() });
process.once('SIGTERM', () => void server.close(200).then(() => volume.stop()));
