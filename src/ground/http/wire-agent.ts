/**
 * The connections of a link, kept from exchange to exchange, with the bytes that truly cross the wire: those of the socket below TLS, handshakes and
 * headers included.
 */
import { Agent as HttpAgent, type AgentOptions } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import { connect, isIP, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { connect as connectTls, type ConnectionOptions } from 'node:tls';

export interface WireBytes {
  readonly sent: number;
  readonly received: number;
}

/** PEM, each. */
export interface LinkTls {
  /** Null: authorities that the system trusts. */
  readonly ca: Buffer | null;
  readonly client: { readonly cert: Buffer; readonly key: Buffer } | null;
}

export interface WireAgent {
  readonly agent: HttpAgent;
  wire(): WireBytes;
}

interface Target {
  readonly url: URL;
  readonly tls: LinkTls | null;
  readonly connections: number;
  /** For a connection, TLS included, to be there. */
  readonly connectMs: number;
}

export function createWireAgent({ url, tls, connections, connectMs }: Target): WireAgent {
  const options: AgentOptions = { keepAlive: true, keepAliveMsecs: 10_000, maxSockets: connections, scheduling: 'lifo' };
  const isTls = url.protocol === 'https:';
  const agent = isTls ? new HttpsAgent(options) : new HttpAgent(options);
  const open = new Set<Socket>();
  const closed = { sent: 0, received: 0 };
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const secrets: ConnectionOptions = {
    ...(tls?.ca ? { ca: tls.ca } : {}),
    ...tls?.client,
    ...{ minVersion: 'TLSv1.3' as const, servername: isIP(host) ? '' : host },
  };
  agent.createConnection = (): Duplex => {
    const socket = connect({ host, port: Number(url.port) || (isTls ? 443 : 80), noDelay: true, keepAlive: true });
    open.add(socket);
    socket.once('close', () => {
      open.delete(socket);
      closed.sent += socket.bytesWritten;
      closed.received += socket.bytesRead;
    });
    const connection = isTls ? connectTls({ ...secrets, host, socket }) : socket;
    const late = setTimeout(() => connection.destroy(new Error('no connection within the time')), connectMs);
    connection.once(isTls ? 'secureConnect' : 'connect', () => clearTimeout(late)).once('close', () => clearTimeout(late));
    return connection;
  };
  return {
    agent,
    wire() {
      const now = { ...closed };
      for (const socket of open) {
        now.sent += socket.bytesWritten;
        now.received += socket.bytesRead;
      }
      return now;
    },
  };
}
