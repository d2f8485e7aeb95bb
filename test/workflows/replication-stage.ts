/**
 * A receiver beside a stage: the real one, over the same installation and another store of it, behind its real transport on a
 * loopback address. What its store does to it is the stage's weather and the files themselves.
 */
import { randomBytes } from 'node:crypto';
import path from 'node:path';
import { Readable } from 'node:stream';
import { storeName, type RepositoryName } from '../../src/domain/ids.ts';
import type { HomeOptions } from '../../src/engine/catalog/home.ts';
import type { ReceiverRecord } from '../../src/engine/catalog/receivers.ts';
import type { AnswerFrame, Hearing, RequestFrame, SessionMessageFrame } from '../../src/engine/replication/frames.ts';
import { createReceiving, type Receiving } from '../../src/engine/replication/receiving/receiving.ts';
import { authorise, mintToken, tokenRecord } from '../../src/engine/replication/tokens.ts';
import { serveReceiver } from '../../src/engine/replication/transport/server.ts';
import { parseClaimObject } from '../../src/engine/repository/object-names.ts';
import type { Repository } from '../../src/engine/repository/repository.ts';
import { interceptStore } from '../../src/ground/stores/intercept.ts';
import { environmentOf, openHomeIn } from '../systems/installation.ts';
import type { Stage } from './stage.ts';

export const PREFIX = 'from-';

export interface StagedReceiver extends AsyncDisposable {
  readonly receiving: Receiving;
  /** Its token, in clear and as a payload of Temporal would hold it. */
  readonly secrets: readonly string[];
  /** Enters it in the catalog under a name. */
  enter(name: string, changes?: Partial<ReceiverRecord>): Promise<void>;
  /** Its repository of a volume. */
  repository(volume: string): Promise<Repository>;
}

export interface Misbehaviour {
  /** Answers in the place of the receiver; null: it answers itself. */
  readonly answer?: (frame: RequestFrame) => AnswerFrame | null;
  /** While it is so its store says that it has put packs, and has not. */
  readonly loses?: () => boolean;
}

export async function raiseReceiver(
  { installation, threads }: Stage,
  store: string,
  { answer = () => null, loses = () => false }: Misbehaviour = {},
): Promise<StagedReceiver> {
  await using stack = new AsyncDisposableStack();
  const { token, id, digest } = mintToken(randomBytes);
  const record = tokenRecord.parse({
    ...{ id, digest, store: storeName(store), repository: null, prefix: PREFIX, rights: ['add'] },
    ...{ quotaBytes: null, retentionFloorMs: null, proof: 'listed', untilMs: null, certificate: null },
  });
  const cacheDir = path.join(installation.folder, `receiver-cache-${id}`);
  const environment = environmentOf('receiver', () => undefined);
  const home = stack.use(await openHomeIn(installation.folder, installation.variables, environment, { cacheDir, decorate: lossy(loses) }));
  const folder = path.join(installation.folder, `sessions-${id}`);
  const receiving = stack.use(await createReceiving({ home, threads, folder, limits: { listingMs: 0, claimsPerMinute: 1000 } }));
  const server = stack.use(
    await serveReceiver({
      ...{ listen: { host: '127.0.0.1', port: 0 }, tls: null, hearing: interrupted(receiving, answer) },
      authorise: (header, certificate) => authorise(new Map([[id, record]]), header, certificate, Date.now()),
    }),
  );
  const variable = `HOLDFAST_TOKEN_${id}`;
  // The variables of the installation are those that its processes would have.
  Object.assign(installation.variables, { [variable]: token });
  const lasting = stack.move();
  const [, , secret = ''] = token.split('.');
  // Of its base64 what does not depend on where it begins.
  const encoded = [0, 1, 2].map((shift) => Buffer.from(secret.slice(shift)).toString('base64').slice(0, 40));
  return {
    receiving,
    secrets: [secret, ...encoded],
    async enter(name, changes = {}) {
      await installation.home.catalog.append(() => ({
        kind: 'RECEIVER_ADD',
        receiver: {
          ...{
            name,
            url: server.url,
            token: `env:${variable}`,
            ca: null,
            client: null,
            seal: { by: 'receiver' as const },
            bytesPerSecondMax: null,
          },
          ...changes,
        },
      }));
    },
    async repository(volume) {
      const repository = await home.repository(storeName(store), `${PREFIX}${volume}` as RepositoryName);
      await repository.sync();
      return repository;
    },
    [Symbol.asyncDispose]: () => lasting.disposeAsync(),
  };
}

const isPack = (name: string): boolean => parseClaimObject(name.slice(name.indexOf('/a/') + 1))?.kind === 'pack';

const lossy =
  (loses: () => boolean): NonNullable<HomeOptions['decorate']> =>
  (store) => ({
    ...store,
    ...interceptStore(store, async (call, run) => {
      const done = await run();
      if (call.operation === 'put' && loses() && isPack(call.name)) await store.delete([call.name]);
      return done;
    }),
  });

const interrupted = (receiving: Receiving, answer: NonNullable<Misbehaviour['answer']>): Hearing => ({
  async *exchange(peer, first, rest, signal) {
    const frames: SessionMessageFrame[] = [];
    for await (const frame of rest) {
      const said = answer(frame);
      if (said !== null) return void (yield said);
      frames.push(frame);
    }
    yield* receiving.exchange(peer, first, Readable.from(frames) as AsyncIterable<SessionMessageFrame>, signal);
  },
});
