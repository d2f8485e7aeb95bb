/**
 * A sender of a run: a process with the source's home that takes snapshots to the receiver, and is killed where its order says.
 *
 *     node test/faults/replication/sender.ts FOLDER NUMBER URL     orders on stdin, a line of JSON each; the token in HOLDFAST_TOKEN
 *
 * It waits a fifth of what a sender waits, and loses patience after PATIENCE_MS: then its starter makes the next attempt.
 */
import path from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { isHoldfastError, messageOf } from '../../../src/domain/errors.ts';
import { repositoryName, storeName, type SnapshotId } from '../../../src/domain/ids.ts';
import type { Link } from '../../../src/engine/replication/frames.ts';
import { runSession } from '../../../src/engine/replication/sending/session.ts';
import { plainSession } from '../../../src/engine/replication/sending/session-parts.ts';
import { openLink } from '../../../src/engine/replication/transport/client.ts';
import { sleep } from '../../../src/ground/stores/sleep.ts';
import { Threads } from '../../../src/ground/threads/threads.ts';
import { environmentOf, openHomeIn } from '../../systems/installation.ts';
import { die, tell, type SendOrder } from './lines.ts';
import { createTrap } from './points.ts';

const [folder = '', number = '', url = ''] = process.argv.slice(2);
const BUFFER_BYTES = 48 * 1024 * 1024;
const PATIENCE_MS = 4000;
const HURRY = 5;
/** Into an exchange, until a process dies that dies while it is under way. */
const UNDER_WAY_MS = 8;

const trap = createTrap(die);
const home = await openHomeIn(
  folder,
  process.env,
  environmentOf(`sender/${process.pid}`, () => undefined),
  {
    cacheDir: path.join(folder, `cache.sender.${number}`),
    retry: { attempts: 3, baseDelayMs: 20 },
  },
);
const threads = new Threads({ count: 1, bufferBytes: BUFFER_BYTES });
const wire = openLink({ url, token: process.env['HOLDFAST_TOKEN'] ?? '', requestTimeoutMs: 10_000 });

const link: Link = {
  async exchange(first, rest, signal) {
    const kinds = new Set([first, ...rest].map(({ kind }) => kind));
    for (const kind of kinds) trap.meet(`sender: before ${kind} is said`);
    void pause(UNDER_WAY_MS).then(() => {
      for (const kind of kinds) trap.meet(`sender: while ${kind} is under way`);
    });
    const answers = await wire.exchange(first, rest, signal);
    for (const kind of kinds) trap.meet(`sender: after ${kind} was answered`);
    return answers;
  },
};

async function send({ snapshot, owner, attempt, takesOver, proof, kill }: SendOrder): Promise<void> {
  trap.arm(kill);
  const source = await home.repository(storeName('here'), repositoryName('source'));
  const of = (await source.sync()).snapshots.get(snapshot as SnapshotId);
  if (of === undefined) throw new Error(`the source has no snapshot ${snapshot}`);
  const outcome = await runSession(
    plainSession({
      ...{ source, store: 'here', of, threads, link, owner, attempt, takesOver, proof, patienceMs: PATIENCE_MS },
      pace: { nowMs: () => performance.now(), sleep: (ms, signal) => sleep(ms / HURRY, signal), random: Math.random },
    }),
  );
  trap.arm(null);
  if (outcome.kind === 'committed') tell(outcome);
  else tell({ kind: 'failed', code: outcome.code, message: `${outcome.nameCount} names`, isOurs: true });
}

// The starter is this very repository: its orders are trusted.
for await (const line of createInterface({ input: process.stdin })) {
  try {
    await send(JSON.parse(line) as SendOrder);
  } catch (error) {
    trap.arm(null);
    const code = isHoldfastError(error) ? error.code : 'INTERNAL';
    tell({ kind: 'failed', code, message: messageOf(error), isOurs: isHoldfastError(error) });
  }
}
process.exit(0);
