/**
 * A receiver of a run: a process with a home of its own, which hears exchanges and is killed where its starter says.
 *
 *     node test/faults/replication/receiver.ts FOLDER NUMBER TOKEN-RECORD     orders on stdin, a line of JSON each
 *
 * All is the product's but what stands around two of its interfaces: the store's calls and the hearing of messages meet the
 * points. A listing of packs serves for LISTING_MS, so that what is lost is found by a run of seconds.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { storeName } from '../../../src/domain/ids.ts';
import type { AnswerFrame, Hearing, SessionMessageFrame } from '../../../src/engine/replication/frames.ts';
import { createReceiving } from '../../../src/engine/replication/receiving/receiving.ts';
import { serveReceiver } from '../../../src/engine/replication/transport/server.ts';
import { authorise, tokenRecord } from '../../../src/engine/replication/tokens.ts';
import { messageOf } from '../../../src/domain/errors.ts';
import { interceptStore, type Interceptor } from '../../../src/ground/stores/intercept.ts';
import { Threads } from '../../../src/ground/threads/threads.ts';
import { environmentOf, openHomeIn } from '../../systems/installation.ts';
import { kindOf } from '../points.ts';
import { die, tell, type ReceiverOrder } from './lines.ts';
import { createTrap, recordOf } from './points.ts';

const [folder = '', number = '', record = ''] = process.argv.slice(2);
const BUFFER_BYTES = 48 * 1024 * 1024;
const LISTING_MS = 0;
/** More than a run has, for one token stands for all senders of it. */
const PLENTY = 100_000;

const trap = createTrap(die);
/** What is being heard, for the store's calls that come of it. */
const hearing = new AsyncLocalStorage<{ kind: string | null }>();

const around: Interceptor = async (call, run) => {
  const object = kindOf(call.name);
  const heard = hearing.getStore()?.kind ?? null;
  const what = object === 'pack' ? 'a pack' : object === 'change' ? 'the changes of a subtree' : object === 'log' ? recordOf(heard) : null;
  if (call.operation === 'put' && what !== null) trap.meet(`receiver: before ${what} is put`);
  const answer = await run();
  if (call.operation === 'put' && what !== null) trap.meet(`receiver: after ${what} is put`);
  if (call.operation === 'list' && object === 'pack') trap.meet('receiver: after packs are listed');
  if (call.operation === 'get' && object === 'pack') trap.meet('receiver: after a pack is read');
  return answer;
};

/** Kinds by which answers tell what they answer; of the others nothing is asked. */
const ANSWERED: Readonly<Partial<Record<AnswerFrame['kind'], string>>> = {
  ...{ OPENED: 'OPEN', TAKEN: 'OPEN', NOTED: 'REFERENCES', KEPT: 'DATA', MISSING: 'PUSH_INQUIRY', COMMITTED: 'COMMIT', WITHHELD: 'COMMIT' },
};

const trapped = (inner: Hearing): Hearing => ({
  async *exchange(peer, first, rest, signal) {
    const heard: { kind: string | null } = { kind: first.kind };
    const watched = async function* (): AsyncGenerator<SessionMessageFrame> {
      for await (const frame of rest) {
        trap.meet(`receiver: before ${frame.kind} is heard`);
        heard.kind = frame.kind;
        yield frame;
      }
    };
    if (first.kind === 'OPEN') trap.meet('receiver: before OPEN is heard');
    const answers = hearing.run(heard, () => inner.exchange(peer, first, watched(), signal)[Symbol.asyncIterator]());
    for (;;) {
      const { value, done } = await hearing.run(heard, () => answers.next());
      if (done === true) return;
      const kind = ANSWERED[value.kind];
      if (kind !== undefined) trap.meet(`receiver: after ${kind} is answered`);
      yield value;
    }
  },
});

const environment = environmentOf(`receiver/${process.pid}`, (message) => tell({ kind: 'alarm', message }));
const home = await openHomeIn(folder, process.env, environment, {
  cacheDir: path.join(folder, `cache.receiver.${number}`),
  decorate: (store, name) => ({ ...store, ...(name === storeName('there') ? interceptStore(store, around) : {}) }),
  retry: { attempts: 3, baseDelayMs: 20 },
});
const threads = new Threads({ count: 1, bufferBytes: BUFFER_BYTES });
const receiving = await createReceiving({
  ...{ home, threads, folder: path.join(folder, 'sessions') },
  limits: { listingMs: LISTING_MS, claimsPerMinute: PLENTY },
});
const token = tokenRecord.parse(JSON.parse(record));
const server = await serveReceiver({
  ...{ listen: { host: '127.0.0.1', port: 0 }, tls: null, hearing: trapped(receiving) },
  limits: { opensPerMinute: PLENTY, refusalsPerMinute: PLENTY, connections: 256, connectionsOfToken: 256 },
  authorise: (header, certificate) => authorise(new Map([[token.id, token]]), header, certificate, Date.now()),
  onEvent(event) {
    if (event.kind === 'exchange') trap.meet('receiver: after an answer is out');
    if (event.kind === 'failure') tell({ kind: 'alarm', message: `an exchange failed: ${messageOf(event.error)}` });
  },
});
tell({ kind: 'serves', port: server.address.port });

// The starter is this very repository: its orders are trusted.
for await (const line of createInterface({ input: process.stdin })) {
  const order = JSON.parse(line) as ReceiverOrder;
  if (order.kind === 'arm') trap.arm(order.kill);
  else {
    await receiving.tend();
    tell({ kind: 'tended' });
  }
}
// One that does not come to its end has told how far it has come.
const closing = [
  ['the server', () => server.close(1000)],
  ['the sessions', () => receiving[Symbol.asyncDispose]()],
  ['the threads', () => threads[Symbol.asyncDispose]()],
  ['the home', () => home[Symbol.asyncDispose]()],
] as const;
for (const [what, close] of closing) {
  await close();
  tell({ kind: 'closed', what });
}
