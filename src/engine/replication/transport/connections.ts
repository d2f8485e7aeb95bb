/**
 * Who is connected: in all, without a token that was taken, and of each token.
 *
 * A stranger's connection has a short life and its own bound, so that strangers cannot keep out those who have a token. Of a token that
 * has all it may have, a connection without an exchange gives way: after the network was cut the old ones are dead, and nobody
 * has told us.
 */
import type { Socket } from 'node:net';
import type { TransportLimits } from './limits.ts';

interface Connection {
  readonly socket: Socket;
  token: string | null;
  isBusy: boolean;
  stranger: NodeJS.Timeout | null;
}

/** What a socket and the TLS that lies over it have in common. */
type Ends = Pick<Socket, 'remoteAddress' | 'remotePort'>;
const endsOf = ({ remoteAddress, remotePort }: Ends): string => `${remoteAddress} ${remotePort}`;

export class Connections {
  readonly #limits: TransportLimits;
  readonly #connections = new Map<string, Connection>();

  constructor(limits: TransportLimits) {
    this.#limits = limits;
  }

  get size(): number {
    return this.#connections.size;
  }

  /** Keeps a connection, or ends it at once. */
  admit(socket: Socket): boolean {
    const strangers = this.#count(({ token }) => token === null);
    if (this.#connections.size >= this.#limits.connections || strangers >= this.#limits.connectionsUnknown) {
      socket.destroy();
      return false;
    }
    const ends = endsOf(socket);
    const connection: Connection = { socket, token: null, isBusy: false, stranger: null };
    this.#connections.set(ends, connection);
    this.#estrange(connection);
    socket.once('close', () => {
      if (connection.stranger !== null) clearTimeout(connection.stranger);
      if (this.#connections.get(ends) === connection) this.#connections.delete(ends);
    });
    return true;
  }

  /** Begins an exchange of a token, one at a time on a connection. False: the token has all that it may have, and all are busy. */
  begin(ends: Ends, token: string): boolean {
    const connection = this.#connections.get(endsOf(ends));
    if (connection === undefined || connection.isBusy) return false;
    if (connection.token !== token && !this.#makeRoom(token)) return false;
    connection.token = token;
    connection.isBusy = true;
    if (connection.stranger !== null) clearTimeout(connection.stranger);
    connection.stranger = null;
    return true;
  }

  end(ends: Ends): void {
    const connection = this.#connections.get(endsOf(ends));
    if (connection !== undefined) connection.isBusy = false;
  }

  isBusy(ends: Ends): boolean {
    return this.#connections.get(endsOf(ends))?.isBusy ?? false;
  }

  /** Its token is taken no more. */
  unknown(ends: Ends): void {
    const connection = this.#connections.get(endsOf(ends));
    if (connection === undefined || connection.token === null) return;
    connection.token = null;
    this.#estrange(connection);
  }

  destroyAll(): void {
    for (const { socket, stranger } of this.#connections.values()) {
      if (stranger !== null) clearTimeout(stranger);
      socket.destroy();
    }
    this.#connections.clear();
  }

  #estrange(connection: Connection): void {
    connection.stranger = setTimeout(() => connection.socket.destroy(), this.#limits.unknownMs);
  }

  #makeRoom(token: string): boolean {
    if (this.#count((one) => one.token === token) < this.#limits.connectionsOfToken) return true;
    const idle = [...this.#connections].find(([, one]) => one.token === token && !one.isBusy);
    if (idle === undefined) return false;
    this.#connections.delete(idle[0]);
    idle[1].socket.destroy();
    return true;
  }

  #count(counts: (connection: Connection) => boolean): number {
    let count = 0;
    for (const connection of this.#connections.values()) if (counts(connection)) count++;
    return count;
  }
}
