/**
 * Records a history of each workflow from a real run, for the replay test.
 *
 *     npx node test/replay/record.ts [FOLDER]     default: test/replay/histories
 *
 * The histories stand for the jobs that run in the installations out there: a change of a workflow that they do not replay on
 * would break those jobs. Record anew only when a workflow was changed on purpose and no job of the old one is running
 * anywhere; else keep the old history, and the workflow compatible (`patched`).
 */
import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js';
import { format, resolveConfig } from 'prettier';
import { volumeName } from '../../src/domain/ids.ts';
import { QUEUE, type CaptureResult } from '../../src/domain/jobs.ts';
import { readStackEnvironment } from '../../src/faces/stack/environment.ts';
import { stderrProgress } from '../../src/faces/stack/progress.ts';
import { archiveOrders } from '../systems/tables/orders-installation.ts';
import { raiseReceiver } from '../workflows/replication-stage.ts';
import { raiseStage, until } from '../workflows/stage.ts';
import { recordFailovers } from './failovers.ts';
import { runTableArchive } from './table-archive.ts';

const EXTENT = 64 * 1024;
const folder = process.argv[2] ?? path.join(import.meta.dirname, 'histories');
mkdirSync(folder, { recursive: true });

await using stage = await raiseStage({ environment: readStackEnvironment(), progress: stderrProgress });
const { installation, client } = stage;
for (const store of ['a', 'b']) await installation.addStore(store);
const writes = Array.from({ length: 20 }, (_, i) => ({ extent: i * 2, content: i * 2 + 2 }));
await installation.addVolume('vol', ['a'], { sizeBytes: 50 * EXTENT, extentBytes: EXTENT, writes });

const capture = async () => (await (await stage.start('captureSnapshot', { volume: 'vol' })).result()) as CaptureResult;
await capture();
const { snapshot } = await capture();
const ended = [
  await stage.start('copySnapshot', { volume: 'vol', snapshot, from: 'a', to: ['b'] }),
  await stage.start('restoreVolume', { volume: 'vol', store: 'a', target: path.join(installation.folder, 'restored') }),
  await stage.start('verifyStore', { volume: 'vol', store: 'a', depth: 'all' }),
  await stage.start('collectGarbage', { repository: 'vol', store: 'a' }),
];
for (const handle of ended) await handle.result();
// The first commit is withheld, so that a subtree is gone over again.
let withheld = 0;
await installation.addStore('there');
await using receiver = await raiseReceiver(stage, 'there', {
  answer: (frame) => (frame.kind === 'COMMIT' && withheld++ === 0 ? { kind: 'WITHHELD', subtrees: [0] } : null),
});
await receiver.enter('offsite');
const replicating = await stage.start('replicateSnapshot', { volume: 'vol', receiver: 'offsite' });
await replicating.result();
await save('replicateSnapshot', replicating.workflowId);
// From here on they are disks: a capture freezes its moment and lets it go.
await using disks = await stage.serveDisks();
await installation.addVolume('other', ['a'], { sizeBytes: 50 * EXTENT, extentBytes: EXTENT, writes });
for (const volume of ['vol', 'other']) await stage.run('attachVolume', { volume });
// A delete that waits and is woken by the next commit; and that capture pauses for a store that is away for a while.
const removal = await stage.start('deleteSnapshot', { volume: 'vol', store: 'a', snapshot });
await until(removal, (status) => status.state === 'waiting');
const folderOfA = installation.storeFolder('a');
renameSync(folderOfA, `${folderOfA}.away`);
const pausing = await stage.start('captureSnapshot', { volume: 'vol' });
await until(pausing, (status) => status.state === 'paused');
renameSync(`${folderOfA}.away`, folderOfA);
await pausing.result();
await removal.result();
await save('captureSnapshot', pausing.workflowId);

// What starts jobs: an event from outside, and a schedule's time. Each run under an id that its starter gives.
const begin = (kind: string, input: object) =>
  client.workflow.start(kind, { workflowId: `recorded.${kind}`, taskQueue: QUEUE, args: [input] });
const policy = { volume: volumeName('vol'), receiver: 'offsite', from: null, everyMs: 60_000, window: null, afterCapture: false };
await installation.home.catalog.append(() => ({ kind: 'REPLICATE_SET', policy }));
const due = await begin('runPolicy', { volume: 'vol', receiver: 'offsite' });
const event = { id: '1', source: 'record' };
const triggered = await begin('runTrigger', { trigger: 'nightly', event, job: 'captureSnapshot', input: { volume: 'vol' } });
for (const handle of [due, triggered]) await handle.result();
for (const id of ['replicate.offsite.vol', 'capture.vol']) await client.workflow.getHandle(id).result();

const group = await stage.start('captureGroup', { volumes: ['vol', 'other'] });
await group.result();
const target = path.join(installation.folder, 'disk');
const instant = await stage.start('hydrateDisk', { volume: 'vol', store: 'a', target, promote: true });
await instant.result();
await stage.run('detachDisk', { disk: 'other' });
process.stdout.write(`${disks.disks.length} disks are left\n`);

await save('archiveTable', (await runTableArchive(stage, 'a')).workflowId);
// Its table is archived by hand: no broker has to be there.
await archiveOrders(installation, 'shop-orders');
const output = { kind: 'file', path: path.join(installation.folder, 'orders.csv'), format: 'csv' } as const;
const restored = await stage.start('restoreTable', { table: 'shop-orders', output });
await restored.result();
await save('restoreTable', restored.workflowId);
for (const [kind, id] of [
  ['deleteSnapshot', removal.workflowId],
  ['attachVolume', 'attach.vol'],
  ['detachDisk', 'detach.other'],
] as const)
  await save(kind, id);
for (const handle of [...ended, group, instant, due, triggered]) await save((await handle.describe()).type, handle.workflowId);

await recordFailovers(stage, save);

async function save(kind: string, workflowId: string): Promise<void> {
  const history = await client.workflow.getHandle(workflowId).fetchHistory();
  const file = path.join(folder, `${kind}.json`);
  const text = JSON.stringify({ workflowId, history: JSON.parse(historyToJSON(history)) as unknown });
  writeFileSync(file, await format(text, { ...(await resolveConfig(file)), parser: 'json' }));
  process.stdout.write(`${file}: ${history.events?.length} events\n`);
}
