/** A disk server with its journals in a process of its own, which may be killed at any moment: `node protected-node.ts FOLDER`. */
import { openWorld } from './protection-world.ts';

const world = openWorld(process.argv[2] ?? '');
const server = await world.start({ checkpointMs: 300 });
process.once('SIGTERM', () => {
  void server[Symbol.asyncDispose]()
    .then(() => world.close())
    .then(() => process.disconnect());
});
process.send?.('started');
