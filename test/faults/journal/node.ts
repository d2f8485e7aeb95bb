/** A disk server with its journals, over the stores of a run: `node node.ts CONFIG`. It may be killed, or stopped for a while, at any moment. */
import { createInterface } from 'node:readline';
import { installPatches } from '../../simulation/patches.ts';
import { keepLedger } from './durable.ts';
import { machineMs } from './history.ts';
import { tell, type NodeConfig, type NodeOrder } from './lines.ts';
import { messageOf } from '../volumes/violation.ts';
import { storesAt } from './stores.ts';

const config = JSON.parse(process.argv[2] ?? '') as NodeConfig;
let { clockOffsetMs } = config;
if (config.ledger) await keepLedger(config.folder);
installPatches(config.patches);
// What is patched is not loaded yet.
const { environment, openWorld } = await import('../../systems/protection/protection-world.ts');
createInterface({ input: process.stdin })
  .on('line', (text) => {
    const order = JSON.parse(text) as NodeOrder;
    clockOffsetMs = order.offsetMs;
  })
  .on('close', () => process.exit(0));

const world = openWorld(config.folder, {
  hostName: config.hostName,
  environment: {
    ...environment,
    nowMs: () => Date.now() + clockOffsetMs,
    alarm: (message, details) => tell({ kind: 'alarm', message: `${message} ${JSON.stringify(details)}` }),
  },
  openStore: (name) => stores.open(name),
  onEvent(event) {
    if (event.kind === 'state')
      tell({ kind: 'state', state: event.state, why: event.error === null ? null : messageOf(event.error), atMs: machineMs() });
  },
});
const stores = storesAt(config.stores, process.env);
const { batchMs, memberMsMax, heldBytesMax } = config;
await world.start({
  ...{ checkpointMs: 300, retryMs: 50, bitmapAfterMs: 300 },
  ...(heldBytesMax === null ? {} : { resyncHeldBytes: heldBytesMax / 4 }),
  owner: { batchMs, memberMsMax, ...(heldBytesMax === null ? {} : { heldBytesMax }) },
});
tell({ kind: 'serves' });
