/**
 * Asks a Kafka broker whether it serves: one ApiVersions request (key 18, version 0), which every broker answers before
 * authentication and none before it has joined its controller. Written out, because it is 14 bytes and a whole client
 * for it would be the stack's only use of one.
 */
import { once } from 'node:events';
import { connect } from 'node:net';

const API_VERSIONS = 18;
const CORRELATION_ID = 0x486f6c64;
const ANSWER_WITHIN_MS = 2000;
/** Size, correlation id, error code. */
const HEADER_BYTES = 10;

function apiVersionsRequest(): Buffer {
  const body = Buffer.alloc(10);
  body.writeInt16BE(API_VERSIONS, 0);
  body.writeInt16BE(0, 2);
  body.writeInt32BE(CORRELATION_ID, 4);
  body.writeInt16BE(-1, 8);
  const size = Buffer.alloc(4);
  size.writeInt32BE(body.length);
  return Buffer.concat([size, body]);
}

/** True when the broker answers without an error; rejects when it cannot be reached or is too slow. */
export async function kafkaIsReady(broker: string): Promise<boolean> {
  const { hostname, port } = new URL(`kafka://${broker}`);
  const socket = connect({ host: hostname.replace(/^\[|\]$/g, ''), port: Number(port) });
  const signal = AbortSignal.timeout(ANSWER_WITHIN_MS);
  try {
    await once(socket, 'connect', { signal });
    socket.write(apiVersionsRequest());
    let answer = Buffer.alloc(0);
    while (answer.length < HEADER_BYTES) {
      const chunks: unknown[] = await once(socket, 'data', { signal });
      const [chunk] = chunks;
      if (!Buffer.isBuffer(chunk)) return false;
      answer = Buffer.concat([answer, chunk]);
    }
    return answer.readInt32BE(4) === CORRELATION_ID && answer.readInt16BE(8) === 0;
  } finally {
    socket.destroy();
  }
}
