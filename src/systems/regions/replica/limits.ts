/** What a replica holds and does at a time: the tables of docs/replica.md, sections 3 and 6. */
import { GIB, KIB, MIB } from '../../../domain/limits.ts';
import type { TransportLimits } from '../../../engine/replication/transport/limits.ts';
import { TRANSPORT_LIMITS } from '../../../engine/replication/transport/limits.ts';
import { CLIENT_PATIENCE_MS, CONNECTIONS_OF_TOKEN_MAX, OBJECT_BYTES_MAX } from '../../../ground/stores/replica-wire.ts';

export interface ReplicaLimits {
  /** Of what is durable here and not in the store behind. */
  readonly waitingBytes: number;
  readonly waitingObjects: number;
  /** Bodies of all peers, in and out. */
  readonly memoryBytes: number;
  /** For room among what waits, or in memory. Less than a client's patience, so that it is told why. */
  readonly roomMs: number;
  /** For a body to come. */
  readonly bodyMs: number;
  /** Entries under way to the store: four of each of four journals. */
  readonly lanes: number;
  readonly movingBytes: number;
  readonly segmentBytes: number;
  /** How long the mark is believed in without having been seen. */
  readonly trustMs: number;
  /** What clients keep to; less only in tests, where they do, too. */
  readonly clientPatienceMs: number;
}

export const REPLICA_LIMITS: ReplicaLimits = {
  waitingBytes: GIB,
  waitingObjects: 100_000,
  memoryBytes: 256 * MIB,
  roomMs: 20_000,
  bodyMs: 30_000,
  lanes: 16,
  movingBytes: 64 * MIB,
  segmentBytes: 64 * MIB,
  trustMs: 5 * 60_000,
  clientPatienceMs: CLIENT_PATIENCE_MS,
};

/** Connections: eight processes with as many calls in flight as a store has. */
export const REPLICA_TRANSPORT: TransportLimits = {
  ...TRANSPORT_LIMITS,
  exchangeBytes: OBJECT_BYTES_MAX,
  headerBytes: 16 * KIB,
  connections: 2 * CONNECTIONS_OF_TOKEN_MAX,
  connectionsOfToken: CONNECTIONS_OF_TOKEN_MAX,
};

/** Entries that are looked at for one that may be moved now. */
export const LOOK_AHEAD = 256;
/** Waits between tries of one entry: from this, doubled each time ... */
export const RETRY_MS_MIN = 100;
/** ... up to this. */
export const RETRY_MS_MAX = 5000;
/** The mark is looked at again before something is moved, when it was not for so long. */
export const LOOK_BEFORE_MOVE_MS = 5000;
/** And in any case so often, or four times within the trust. */
export const LOOK_MS_MAX = 60_000;
