/** A process of its own for a test: starts a server, prints its pid and waits to be killed. */
import { setTimeout as sleep } from 'node:timers/promises';
import { readStackEnvironment } from '../../../src/faces/stack/environment.ts';
import { stderrProgress } from '../../../src/faces/stack/progress.ts';
import { startTemporal } from '../../../src/faces/stack/temporal.ts';

const server = await startTemporal({}, { environment: readStackEnvironment(), progress: stderrProgress });
process.stdout.write(String(server.pid));
await sleep(600_000);
