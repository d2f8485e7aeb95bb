/**
 * An archiver and a keeper of a table, as the activities of a worker run them: `archive-process.ts <folder> <table> <point or ->`. Killed with SIGKILL
 * at the point, else it goes on until it is told to end.
 */
import { interceptStore, type StoreCall } from '../../../src/ground/stores/intercept.ts';
import { runArchiver, runKeeper } from '../../../src/systems/tables/running.ts';
import { environmentOf, openHomeIn } from '../../systems/installation.ts';
import { isPoint, type ArchivePoint } from './archive-points.ts';

const [folder = '', table = '', point = '-'] = process.argv.slice(2);

const die = (): never => {
  process.kill(process.pid, 'SIGKILL');
  // The signal is on its way; nothing more is to be done.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
  throw new Error('not killed');
};

let segments = 0;
const at = (here: ArchivePoint): void => void (point !== '-' && here === point && die());
const before = ({ operation, name }: StoreCall): void => {
  if (operation !== 'put') return;
  if (name.includes('/segment/') && ++segments > 1) at('before a segment');
  if (name.includes('/snapshot/')) at('before a snapshot');
  if (name.includes('/log/') && segments > 1) at('before a record');
};
const after = ({ operation, name }: StoreCall): void => {
  if (operation !== 'put') return;
  if (name.includes('/segment/') && segments > 1) at('after a segment');
  if (name.includes('/snapshot/')) at('after a snapshot');
  if (name.includes('/log/') && segments > 1) at('after a record');
};

await using home = await openHomeIn(
  folder,
  process.env,
  environmentOf(`archiver/${process.pid}`, () => undefined),
  {
    decorate: (store) => ({
      ...store,
      ...interceptStore(store, async (call, run) => {
        before(call);
        const answer = await run();
        after(call);
        return answer;
      }),
    }),
  },
);
if (point !== '-' && !isPoint(point)) throw new Error(`no point ${point}`);
const stopping = new AbortController();
process.once('SIGTERM', () => stopping.abort());
const run = { home, table, signal: stopping.signal };
await Promise.all([runArchiver(run), runKeeper(run, point.endsWith('snapshot'))]);
