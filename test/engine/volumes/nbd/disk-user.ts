/** A user of a disk, by its URI: writes, reads, flushes, leaves. What comes and is no reply ends the connection, and fails who waits. */
import { COMMAND } from '../../../../src/engine/volumes/nbd/protocol.ts';
import { connectDisk } from './disk-connection.ts';

export interface DiskUser extends Disposable {
  write(offset: number, data: Buffer): Promise<void>;
  read(offset: number, length: number): Promise<Buffer>;
  flush(): Promise<void>;
  /** Says goodbye and waits for the server's end. */
  leave(): Promise<void>;
}

export async function useDisk(uri: string): Promise<DiskUser> {
  const connection = await connectDisk(uri, () => undefined);
  return {
    write: async (offset, data) => void (await connection.ask({ command: COMMAND.WRITE, offset, data })),
    read: (offset, length) => connection.ask({ command: COMMAND.READ, offset, length }),
    flush: async () => void (await connection.ask({ command: COMMAND.FLUSH })),
    async leave() {
      connection.leave();
      await connection.ended;
    },
    [Symbol.dispose]: () => connection.leave(),
  };
}
