/** A client that sends what it is told, byte for byte, and keeps what comes back. */
import { connect, type Socket } from 'node:net';
import { encodeOption } from '../../../../src/engine/volumes/nbd/negotiation.ts';
import { OPTION } from '../../../../src/engine/volumes/nbd/protocol.ts';
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
