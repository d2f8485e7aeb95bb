/** A user of a disk: reads, writes and flushes over NBD with simple replies, many requests at once; knows when each was answered. */
import { connect } from 'node:net';
import { COMMAND, OPTION } from '../../../../src/engine/volumes/nbd/protocol.ts';
import { encodeRequest } from '../../../../src/engine/volumes/nbd/requests.ts';
import { parseNbdUri } from '../../../../src/engine/volumes/nbd/uri.ts';
import { clientFlags, go, GO_REPLY_BYTES, GREETING_BYTES } from './raw-client.ts';

export interface DiskUser extends Disposable {
  write(offset: number, bytes: Buffer): Promise<void>;
  read(offset: number, length: number): Promise<Buffer>;
  trim(offset: number, length: number): Promise<void>;
  flush(): Promise<void>;
  /** Says goodbye and waits for the server's end. */
  leave(): Promise<void>;
}

interface Waiting {
  readonly length: number;
  readonly resolve: (data: Buffer) => void;
  readonly reject: (error: Error) => void;
}

const REPLY_BYTES = 16;

/** `uri`: as a disk server gives it. */
export async function useDisk(uri: string): Promise<DiskUser> {
  const parsed = parseNbdUri(uri);
  if (parsed === null) throw new Error(`${uri} is no export`);
  const socket = connect(parsed.at);
  const waiting = new Map<bigint, Waiting>();
  let input: Buffer = Buffer.alloc(0);
  let ready = false;
  let serial = 0n;
  let begin: () => void = () => undefined;
  let closed: () => void = () => undefined;
  const began = new Promise<void>((resolve) => (begin = resolve));
  const gone = new Promise<void>((resolve) => (closed = resolve));
  socket.on('error', () => undefined);
  socket.on('close', () => {
    for (const { reject } of waiting.values()) reject(new Error('the server has ended the connection'));
    waiting.clear();
    begin();
    closed();
  });
  socket.on('data', (chunk: Buffer) => {
    input = input.length === 0 ? chunk : Buffer.concat([input, chunk]);
    if (!ready) {
      if (input.length < GREETING_BYTES + GO_REPLY_BYTES) return;
      input = input.subarray(GREETING_BYTES + GO_REPLY_BYTES);
      ready = true;
      begin();
    }
    while (input.length >= REPLY_BYTES) {
      const cookie = input.readBigUInt64BE(8);
      const one = waiting.get(cookie);
      if (one === undefined) throw new Error('an answer to nothing that was asked');
      const errno = input.readUInt32BE(4);
      const bytes = REPLY_BYTES + (errno === 0 ? one.length : 0);
      if (input.length < bytes) return;
      waiting.delete(cookie);
      if (errno === 0) one.resolve(input.subarray(REPLY_BYTES, bytes));
      else one.reject(new Error(`the server answers ${errno}`));
      input = input.subarray(bytes);
    }
  });
  socket.write(Buffer.concat([clientFlags(3), go(parsed.export, OPTION.GO)]));
  await began;
  if (!ready) throw new Error(`the server does not give ${uri}`);
  const ask = (command: number, offset: number, length: number, data: Buffer | null = null): Promise<Buffer> =>
    new Promise((resolve, reject) => {
      if (socket.destroyed) return reject(new Error('the server has ended the connection'));
      const cookie = ++serial;
      waiting.set(cookie, { length: command === COMMAND.READ ? length : 0, resolve, reject });
      const head = encodeRequest({ flags: 0, command, cookie, offset, length });
      socket.write(data === null ? head : Buffer.concat([head, data]));
    });
  return {
    write: async (offset, bytes) => void (await ask(COMMAND.WRITE, offset, bytes.length, bytes)),
    read: (offset, length) => ask(COMMAND.READ, offset, length),
    trim: async (offset, length) => void (await ask(COMMAND.TRIM, offset, length)),
    flush: async () => void (await ask(COMMAND.FLUSH, 0, 0)),
    async leave() {
      socket.write(encodeRequest({ flags: 0, command: COMMAND.DISC, cookie: 0n, offset: 0, length: 0 }));
      await gone;
    },
    [Symbol.dispose]: () => void socket.destroy(),
  };
}
