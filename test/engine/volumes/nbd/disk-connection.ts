/** A connection to a disk as a writer uses it: many requests at once, each change with the flags that it wants, simple replies. */
import { connect } from 'node:net';
import { COMMAND, OPTION, SIMPLE_REPLY_BYTES, SIMPLE_REPLY_MAGIC } from '../../../../src/engine/volumes/nbd/protocol.ts';
import { encodeRequest } from '../../../../src/engine/volumes/nbd/requests.ts';
import { parseNbdUri } from '../../../../src/engine/volumes/nbd/uri.ts';
import { clientFlags, go, GO_REPLY_BYTES, GREETING_BYTES } from './raw-client.ts';

/** The server's answer is an error. */
export class Refused extends Error {
  readonly errno: number;

  constructor(errno: number) {
    super(`the server answers ${errno}`);
    this.errno = errno;
  }
}

/** There is no answer, and none comes. */
export class Gone extends Error {}

interface Asked {
  readonly command: number;
  readonly flags?: number;
  readonly offset?: number;
  readonly length?: number;
  readonly data?: Buffer;
}

export interface Connection {
  ask(of: Asked): Promise<Buffer>;
  /** Resolves when it has ended and every answer that had come was given. */
  readonly ended: Promise<void>;
  readonly isOpen: boolean;
  /** Says goodbye. */
  leave(): void;
}

interface Waiting {
  readonly bytes: number;
  readonly resolve: (data: Buffer) => void;
  readonly reject: (error: Error) => void;
}

/** Throws Gone when nobody serves it. What comes and is no reply is told to `nonsense`, once. */
export async function connectDisk(uri: string, nonsense: (what: string) => void): Promise<Connection> {
  const parsed = parseNbdUri(uri);
  if (parsed === null) throw new Error(`${uri} is no export`);
  const socket = connect(parsed.at);
  const waiting = new Map<bigint, Waiting>();
  let input: Buffer = Buffer.alloc(0);
  let ready = false;
  let serial = 0n;
  let begin: () => void = () => undefined;
  const began = new Promise<void>((resolve) => (begin = resolve));
  const ended = new Promise<void>((resolve) =>
    socket.once('close', () => {
      for (const { reject } of waiting.values()) reject(new Gone('the connection has ended'));
      waiting.clear();
      begin();
      resolve();
    }),
  );
  socket.on('error', () => undefined);
  let before = 'the first reply';
  const onNonsense = (what: string): void => {
    nonsense(what);
    socket.destroy();
  };
  const take = (): void => {
    while (input.length >= SIMPLE_REPLY_BYTES) {
      const cookie = input.readBigUInt64BE(8);
      const one = waiting.get(cookie);
      if (input.readUInt32BE(0) !== SIMPLE_REPLY_MAGIC || one === undefined) {
        const what = `no reply: ${input.toString('hex', 0, 48)}, ${input.length} bytes, after ${before}; ${waiting.size} of ${serial} wait`;
        return onNonsense(`the server sends ${uri} what is ${what}`);
      }
      const errno = input.readUInt32BE(4);
      const bytes = SIMPLE_REPLY_BYTES + (errno === 0 ? one.bytes : 0);
      if (input.length < bytes) return;
      waiting.delete(cookie);
      before = `one of ${bytes} bytes to request ${cookie}`;
      if (errno === 0) one.resolve(input.subarray(SIMPLE_REPLY_BYTES, bytes));
      else one.reject(new Refused(errno));
      input = input.subarray(bytes);
    }
  };
  socket.on('data', (chunk: Buffer) => {
    input = input.length === 0 ? chunk : Buffer.concat([input, chunk]);
    if (!ready && input.length < GREETING_BYTES + GO_REPLY_BYTES) return;
    if (!ready) input = input.subarray(GREETING_BYTES + GO_REPLY_BYTES);
    ready = true;
    begin();
    take();
  });
  socket.write(Buffer.concat([clientFlags(3), go(parsed.export, OPTION.GO)]));
  await began;
  if (!ready) throw new Gone(`nobody serves ${uri}`);
  return {
    ended,
    get isOpen() {
      return !socket.destroyed && !socket.readableEnded;
    },
    ask: ({ command, flags = 0, offset = 0, length = 0, data }) =>
      new Promise((resolve, reject) => {
        if (socket.destroyed) return reject(new Gone('the connection has ended'));
        const cookie = ++serial;
        const bytes = data?.length ?? length;
        waiting.set(cookie, { bytes: command === COMMAND.READ ? bytes : 0, resolve, reject });
        const head = encodeRequest({ flags, command, cookie, offset, length: bytes });
        socket.write(data === undefined ? head : Buffer.concat([head, data]));
      }),
    leave() {
      // A refused GO leaves the server in negotiation: the end of the socket is a goodbye in either case.
      if (ready) socket.write(encodeRequest({ flags: 0, command: COMMAND.DISC, cookie: 0n, offset: 0, length: 0 }));
      socket.end();
    },
  };
}
