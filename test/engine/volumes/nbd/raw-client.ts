/** A client that sends what it is told, byte for byte, and keeps what comes back. */
import { connect, type Socket } from 'node:net';
import { encodeOption } from '../../../../src/engine/volumes/nbd/negotiation.ts';
import { CHUNK_DONE, CHUNK_HEADER_BYTES, OPTION, STRUCTURED_REPLY_MAGIC } from '../../../../src/engine/volumes/nbd/protocol.ts';
import { encodeRequest } from '../../../../src/engine/volumes/nbd/requests.ts';
import type { NbdAddress } from '../../../../src/engine/volumes/nbd/uri.ts';

export interface RawClient extends Disposable {
  readonly socket: Socket;
  received(): Buffer;
  /** Waits until so many bytes have come; false: the server has ended the connection before. */
  until(bytes: number): Promise<boolean>;
  /** Waits for the server's end of the connection. */
  ended(): Promise<void>;
}

export async function rawClient(at: NbdAddress): Promise<RawClient> {
  const socket = connect(at);
  const chunks: Buffer[] = [];
  let length = 0;
  let closed = false;
  let wake: () => void = () => undefined;
  const changed = (): Promise<void> => new Promise((resolve) => (wake = resolve));
  socket.on('data', (chunk: Buffer) => {
    chunks.push(chunk);
    length += chunk.length;
    wake();
  });
  socket.on('error', () => undefined);
  socket.on('close', () => {
    closed = true;
    wake();
  });
  await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('error', reject));
  return {
    socket,
    received: () => Buffer.concat(chunks),
    async until(bytes) {
      while (length < bytes && !closed) await changed();
      return length >= bytes;
    },
    async ended() {
      while (!closed) await changed();
    },
    [Symbol.dispose]: () => void socket.destroy(),
  };
}

export const option = (number: number, data: Buffer = Buffer.alloc(0)): Buffer => encodeOption(number, data);

export const clientFlags = (flags: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(flags, 0);
  return bytes;
};

/** NBD_OPT_GO for an export, asking for nothing. */
export function go(name: string, number: number = OPTION.GO): Buffer {
  const label = Buffer.from(name);
  const data = Buffer.alloc(4 + label.length + 2);
  data.writeUInt32BE(label.length, 0);
  data.set(label, 4);
  return option(number, data);
}

export const request = (command: number, cookie: bigint, offset: number, length: number, flags = 0): Buffer =>
  encodeRequest({ flags, command, cookie, offset, length });

export const GREETING_BYTES = 18;
/** INFO_EXPORT (20 + 12) and ACK (20). */
export const GO_REPLY_BYTES = 52;
const ACK_BYTES = 20;

/** A client in transmission, without contexts; what comes from now on begins at the number it gives. */
export async function inTransmission(
  at: NbdAddress,
  replies: 'simple' | 'structured' = 'simple',
): Promise<{ readonly client: RawClient; readonly from: number }> {
  const client = await rawClient(at);
  const structured = replies === 'structured' ? [option(OPTION.STRUCTURED_REPLY)] : [];
  client.socket.write(Buffer.concat([clientFlags(3), ...structured, go('disk')]));
  const from = GREETING_BYTES + structured.length * ACK_BYTES + GO_REPLY_BYTES;
  if (!(await client.until(from))) throw new Error('the server has ended the handshake');
  return { client, from };
}

export interface Chunk {
  readonly done: boolean;
  readonly type: number;
  readonly cookie: bigint;
  readonly body: Buffer;
}

/** The chunk of a structured reply that begins at `from`, when all of it has come. */
export async function chunkAt(client: RawClient, from: number): Promise<Chunk> {
  const body = from + CHUNK_HEADER_BYTES;
  if (!(await client.until(body))) throw new Error('the server has ended the connection');
  const head = client.received().subarray(from);
  if (head.readUInt32BE(0) !== STRUCTURED_REPLY_MAGIC) throw new Error('this is no chunk');
  const bytes = head.readUInt32BE(16);
  if (!(await client.until(body + bytes))) throw new Error('the server has ended the connection');
  return {
    done: (head.readUInt16BE(4) & CHUNK_DONE) !== 0,
    type: head.readUInt16BE(6),
    cookie: head.readBigUInt64BE(8),
    body: client.received().subarray(body, body + bytes),
  };
}
