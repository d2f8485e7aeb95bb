/** One process of a race: puts its own bytes to each of the names if absent, and prints the names that it won. */
import { createFileStore } from '../../../src/ground/stores/file-store.ts';

const [root = '', rounds = '0', id = '', startMs = '0'] = process.argv.slice(2);
const store = createFileStore({ root });
const body = Buffer.alloc(64 * 1024, id);
await new Promise((resolve) => setTimeout(resolve, Number(startMs) - Date.now()));
for (let round = 0; round < Number(rounds); round++) {
  const name = `race/${round}`;
  if ((await store.put(name, body, { ifAbsent: true })) === 'created') process.stdout.write(`${name} ${id}\n`);
}
