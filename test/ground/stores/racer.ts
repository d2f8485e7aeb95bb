/** One process of a race: says that it is ready, waits for its input, puts its own bytes to each of the names if absent, and prints the names that it won. */
import { once } from 'node:events';
import { createFileStore } from '../../../src/ground/stores/file-store.ts';

const [root = '', rounds = '0', id = ''] = process.argv.slice(2);
const store = createFileStore({ root });
const body = Buffer.alloc(64 * 1024, id);
process.stdout.write('ready\n');
process.stdin.resume();
await once(process.stdin, 'end');
for (let round = 0; round < Number(rounds); round++) {
  const name = `race/${round}`;
  if ((await store.put(name, body, { ifAbsent: true })) === 'created') process.stdout.write(`${name} ${id}\n`);
}
