/** A replica that serves: the folder, the store behind, the ear for clients, the socket for the operator. */
import { HoldfastError, messageOf } from '../../../domain/errors.ts';
import { listenForPeers, type EarEvent, type EarTls, type ListeningEar } from '../../../engine/replication/transport/ear.ts';
import type { TransportLimits } from '../../../engine/replication/transport/limits.ts';
import { checkExposure, type TcpAddress } from '../../../engine/volumes/listening.ts';
import { serveStatus } from '../../../ground/processes/status-socket.ts';
import { REPLICA_TRANSPORT } from './limits.ts';
import type { ReplicaOptions } from './opening.ts';
import { Replica, type ReplicaStatus } from './replica.ts';
import { createReplicaAnswerer, type ServiceEvent } from './service.ts';
import { createTokenBook } from './tokens.ts';

export interface ServingOptions extends ReplicaOptions {
  readonly listen: TcpAddress;
  /** Null: no TLS, on a loopback address. */
  readonly tls: EarTls | null;
  readonly transport?: Partial<TransportLimits>;
  readonly onEvent?: (event: EarEvent | ServiceEvent) => void;
}

/** What `holdfast replica status` shows. */
export interface ServingStatus extends ReplicaStatus {
  readonly url: string;
  /** The store behind. */
  readonly store: string;
  readonly connections: number;
  /** Over the last minute, or since the start. */
  readonly bytesPerSecond: number;
}

export interface ServingReplica extends AsyncDisposable {
  readonly ear: ListeningEar;
  readonly replica: Replica;
  status(): ServingStatus;
}

const RATE_MS = 60_000;
const SAMPLE_MS = 5000;

/** Errors as of `Replica.open`, and ARGUMENT_INVALID: it cannot listen there. */
export async function serveReplica(options: ServingOptions): Promise<ServingReplica> {
  const { folder, listen, tls, store, onEvent = () => undefined } = options;
  // Before the store is asked.
  checkExposure(listen, tls?.certificates ?? null, 'replica.listen');
  const tokens = await createTokenBook(folder.tokens, tls === null);
  await using stack = new AsyncDisposableStack();
  const replica = stack.use(await Replica.open(options));
  const ear = await listenForPeers({
    ...{ listen, tls, limits: { ...REPLICA_TRANSPORT, ...options.transport } },
    answerer: createReplicaAnswerer({ replica, onEvent }),
    authorise: (header, certificate) => tokens.judge(header, certificate),
    onEvent,
  }).catch((error: unknown) => {
    if (error instanceof HoldfastError) throw error;
    throw new HoldfastError('ARGUMENT_INVALID', `cannot listen there: ${messageOf(error)}`, {
      ...{ field: 'replica.listen', expected: 'an address that is free' },
    });
  });
  stack.use(ear);
  const rate = stack.use(createRate(() => replica.status().moved.bytes));
  const status = (): ServingStatus => ({
    ...{ url: ear.url, store: store.describe().url, connections: ear.connections },
    ...replica.status(),
    bytesPerSecond: rate.perSecond(),
  });
  stack.use(await serveStatus(folder.controlSocket, status));
  const whole = stack.move();
  return { ear, replica, status, [Symbol.asyncDispose]: () => whole.disposeAsync() };
}

/** How fast something grows, looked at every few seconds. */
function createRate(total: () => number): Disposable & { perSecond(): number } {
  let samples = [{ atMs: performance.now(), total: total() }];
  const timer = setInterval(() => {
    samples.push({ atMs: performance.now(), total: total() });
    samples = samples.slice(-RATE_MS / SAMPLE_MS);
  }, SAMPLE_MS).unref();
  return {
    perSecond() {
      const [first] = samples;
      if (first === undefined) return 0;
      return ((total() - first.total) * 1000) / Math.max(1, performance.now() - first.atMs);
    },
    [Symbol.dispose]: () => clearInterval(timer),
  };
}
