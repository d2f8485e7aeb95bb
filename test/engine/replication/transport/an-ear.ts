/** A receiver of a few lines behind the real transport: it notes what it heard and answers what was asked. */
import { randomBytes } from 'node:crypto';
import { storeName, lineage, snapshotId } from '../../../../src/domain/ids.ts';
import type { AnswerFrame, Hearing, Peer, RequestFrame, SessionFrame } from '../../../../src/engine/replication/frames.ts';
import { authorise, mintToken, tokenRecord, type TokenRecord } from '../../../../src/engine/replication/tokens.ts';
import type { TransportLimits } from '../../../../src/engine/replication/transport/limits.ts';
import {
  serveReceiver,
  type ReceiverEvent,
  type ReceiverServer,
  type ReceiverTls,
} from '../../../../src/engine/replication/transport/server.ts';

export const NAME = 'ab'.repeat(32);
export const SESSION: SessionFrame = { kind: 'SESSION', epoch: 3, snapshot: snapshotId('0'.repeat(26)), lineage: lineage('db@1') };

export interface Ear extends AsyncDisposable {
  readonly server: ReceiverServer;
  readonly url: string;
  readonly heard: { readonly peer: Peer; readonly kind: RequestFrame['kind'] }[];
  readonly events: ReceiverEvent[];
  readonly records: Map<string, TokenRecord>;
  /** Enters a token; what it is. */
  token(changes?: Partial<TokenRecord>): string;
  /** Exchanges that wait are let go on. */
  release(): void;
}

export interface EarOptions {
  readonly limits?: Partial<TransportLimits>;
  readonly tls?: ReceiverTls | null;
  /** What is answered instead of what is usual; null: the usual. */
  readonly answer?: (frame: RequestFrame) => AnswerFrame | null;
  /** DATA waits until it is released. */
  readonly holds?: boolean;
}

const usual = (frame: RequestFrame): AnswerFrame | null => {
  switch (frame.kind) {
    case 'OPEN':
      return { kind: 'OPENED', fresh: true, countsNothing: false, epoch: 3, base: null, exchangeBytes: 4 << 20, exchanges: 16 };
    case 'REFERENCES':
      return { kind: 'NOTED', turn: frame.turn, subtree: frame.subtree, page: frame.page };
    case 'DATA':
      return { kind: 'KEPT', turn: frame.turn, accepted: 1, dropped: 0 };
    case 'PUSH_INQUIRY':
      return { kind: 'MISSING', subtree: frame.subtree, round: frame.round, outstanding: 0, pages: [], names: [] };
    case 'COMMIT':
      return { kind: 'COMMITTED', root: frame.root };
    case 'NAME_GONE':
    case 'ABORT':
      return { kind: 'ENDED' };
    case 'SESSION':
      return null;
  }
};

export async function listenAs({ limits = {}, tls = null, answer = () => null, holds = false }: EarOptions = {}): Promise<Ear> {
  const heard: Ear['heard'] = [];
  const events: ReceiverEvent[] = [];
  const records = new Map<string, TokenRecord>();
  let release = (): void => undefined;
  const released = new Promise<void>((resolve) => (release = resolve));
  const hearing: Hearing = {
    async *exchange(peer, first, rest, signal) {
      const cut = new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
      heard.push({ peer, kind: first.kind });
      const begun = answer(first) ?? usual(first);
      if (begun !== null) yield begun;
      for await (const frame of rest) {
        heard.push({ peer, kind: frame.kind });
        if (holds) await Promise.race([released, cut]);
        const said = answer(frame) ?? usual(frame);
        if (said !== null) yield said;
      }
    },
  };
  const server = await serveReceiver({
    ...{ listen: { host: '127.0.0.1', port: 0 }, tls, hearing, limits },
    authorise: (header, certificate) => authorise(records, header, certificate, Date.now()),
    onEvent: (event) => void events.push(event),
  });
  return {
    ...{ server, heard, events, records, release },
    url: tls === null ? server.url : `https://localhost:${server.address.port}`,
    token(changes = {}) {
      const { token, id, digest } = mintToken(randomBytes);
      const record = tokenRecord.parse({
        ...{ id, digest, store: storeName('cloud'), repository: null, prefix: '', rights: ['add'] },
        ...{ quotaBytes: null, retentionFloorMs: null, proof: 'listed', untilMs: null, certificate: null },
        ...changes,
      });
      records.set(id, record);
      return token;
    },
    [Symbol.asyncDispose]: () => server.close(200),
  };
}

export const data = (bytes: number, fill = 7) =>
  ({ kind: 'DATA', asked: false, turn: 1, name: NAME, codec: 0, body: Buffer.alloc(bytes, fill) }) as const;
