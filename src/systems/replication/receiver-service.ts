/**
 * A receiver that serves: sessions over the repositories of a home, behind the transport, for whoever has a token of the catalog.
 *
 * One process a folder: the files of sessions are one's own. What is under way when it ends is said again by its sender to the next
 * one; nothing is lost but time.
 */
import { HoldfastError, messageOf } from '../../domain/errors.ts';
import type { Home } from '../../engine/catalog/home.ts';
import { createReceiving, type SessionStatus } from '../../engine/replication/receiving/receiving.ts';
import type { ReceivingLimits } from '../../engine/replication/receiving/limits.ts';
import { serveReceiver, type ReceiverEvent, type ReceiverServer, type ReceiverTls } from '../../engine/replication/transport/server.ts';
import type { TcpAddress } from '../../engine/volumes/listening.ts';
import { tryProcessLock } from '../../ground/processes/process-lock.ts';
import type { Threads } from '../../ground/threads/threads.ts';
import { serveReceiverControl, type ReceiverStatus } from './receiver-control.ts';
import type { ReceiverFolder } from './receiver-folder.ts';
import { questionsTo } from './receiver-questions.ts';
import { createTokenBook } from './receiver-tokens.ts';

export interface ReceiverServiceOptions {
  readonly home: Home;
  readonly threads: Threads;
  readonly folder: ReceiverFolder;
  readonly listen: TcpAddress;
  /** Null: no TLS, on a loopback address. */
  readonly tls: ReceiverTls | null;
  readonly limits?: Partial<ReceivingLimits>;
  readonly onEvent?: (event: ReceiverEvent) => void;
  /** A session has ended. */
  readonly onEnd?: (session: SessionStatus) => void;
}

export interface ReceiverService extends AsyncDisposable {
  readonly server: ReceiverServer;
  sessions(): readonly SessionStatus[];
}

/** Sessions that nobody speaks in any more are looked for so often. */
const TEND_MS = 3600 * 1000;
/** Ended sessions that are told of. */
const ENDED_MAX = 64;

export async function startReceiver(options: ReceiverServiceOptions): Promise<ReceiverService> {
  const { home, threads, folder, listen, tls, limits, onEvent } = options;
  await using stack = new AsyncDisposableStack();
  stack.use(await onlyOne(folder));
  // Before anything is heard: without the catalog nobody is known.
  await home.catalog.sync();
  const ended: SessionStatus[] = [];
  const receiving = stack.use(
    await createReceiving({
      ...{ home, threads, folder: folder.sessions, ...(limits ? { limits } : {}) },
      onEnd(session) {
        ended.unshift(session);
        ended.length = Math.min(ended.length, ENDED_MAX);
        options.onEnd?.(session);
      },
    }),
  );
  const tokens = createTokenBook(home);
  const server = await serveReceiver({
    ...{ listen, tls, hearing: receiving, authorise: (header, certificate) => tokens.judge(header, certificate) },
    questions: questionsTo(home, () => [...receiving.status(), ...ended]),
    ...(onEvent ? { onEvent } : {}),
  }).catch((error: unknown) => {
    if (error instanceof HoldfastError) throw error;
    throw new HoldfastError('ARGUMENT_INVALID', `cannot listen there: ${messageOf(error)}`, {
      ...{ field: 'receiver.listen', expected: 'an address that is free' },
    });
  });
  stack.use(server);
  const status = (): ReceiverStatus => ({
    ...{ url: server.url, connections: server.connections, sessions: receiving.status(), ended },
  });
  stack.use(await serveReceiverControl(folder.controlSocket, status));
  stack.use(tending(home, () => receiving.tend()));
  const whole = stack.move();
  return { server, sessions: () => receiving.status(), [Symbol.asyncDispose]: () => whole.disposeAsync() };
}

/** At once, for what an earlier process has left, and then every hour. */
function tending({ environment }: Home, tend: () => Promise<void>): AsyncDisposable {
  let underWay: Promise<void> | null = null;
  const now = (): void => {
    underWay ??= tend()
      .catch((error: unknown) => environment.alarm('sessions that are over could not be closed', { error: messageOf(error) }))
      .finally(() => (underWay = null));
  };
  now();
  const hourly = setInterval(now, TEND_MS).unref();
  return {
    async [Symbol.asyncDispose]() {
      clearInterval(hourly);
      await underWay;
    },
  };
}

async function onlyOne({ lock }: ReceiverFolder): Promise<Disposable> {
  const held = await tryProcessLock(lock);
  if (held !== null) return held;
  throw new HoldfastError('RECEIVER_RUNS', 'another receiver serves this installation', { lock });
}
