/** What a peer may take of a receiver's transport: the table of docs/replication.md section 7, with its arithmetic. */
import { KIB, MIB } from '../../../domain/limits.ts';
import { ANSWER_BYTES_MAX, EXCHANGE_BYTES_LEAST } from '../wire/bounds.ts';

export interface TransportLimits {
  /** Body of one exchange; a first frame and one more of any kind always have room. */
  readonly exchangeBytes: number;
  /** Answers of one exchange that are kept until its body has been heard. */
  readonly answerBytes: number;
  readonly headerBytes: number;
  readonly headerMs: number;
  /** A body may fall behind this rate ... */
  readonly bytesPerSecondMin: number;
  /** ... by so much. */
  readonly behindMs: number;
  /** For a peer to take an answer. */
  readonly answerMs: number;
  readonly connections: number;
  readonly connectionsOfToken: number;
  readonly connectionsUnknown: number;
  /** Until a connection has brought a token that is taken. */
  readonly unknownMs: number;
  /** Of a connection between two exchanges. */
  readonly idleMs: number;
  readonly refusalsPerMinute: number;
  readonly opensPerMinute: number;
}

export const TRANSPORT_LIMITS: TransportLimits = {
  exchangeBytes: 4 * MIB,
  answerBytes: 4 * MIB,
  headerBytes: 16 * KIB,
  headerMs: 10_000,
  bytesPerSecondMin: 64 * KIB,
  behindMs: 30_000,
  answerMs: 60_000,
  connections: 64,
  connectionsOfToken: 16,
  connectionsUnknown: 32,
  unknownMs: 10_000,
  idleMs: 60_000,
  refusalsPerMinute: 64,
  opensPerMinute: 60,
};

/** What a sender opens to one receiver: as many as it may have of a token. */
export const EXCHANGES_MAX = 16;
/** Bytes of the answers of one exchange, as a sender takes them: the last may pass the bound, and a refusal follows it. */
export const ANSWERS_BYTES_MAX = TRANSPORT_LIMITS.answerBytes + 2 * ANSWER_BYTES_MAX;

export const exchangeBytesMax = ({ exchangeBytes }: TransportLimits): number => Math.max(exchangeBytes, EXCHANGE_BYTES_LEAST);
