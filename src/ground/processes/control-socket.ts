/** A control socket: HTTP over a Unix socket that only the user of its process can open. */
import { chmod, unlink } from 'node:fs/promises';
import type { Server } from 'node:http';

/** The caller has made sure that no other process is alive on the socket. Gone when it is disposed, with whoever is connected. */
export async function listenPrivately(server: Server, socketPath: string): Promise<AsyncDisposable> {
  await unlink(socketPath).catch(() => undefined);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(socketPath, resolve);
  });
  await chmod(socketPath, 0o600);
  return {
    [Symbol.asyncDispose]: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
