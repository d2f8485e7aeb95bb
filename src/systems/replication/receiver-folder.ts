/** What lies where in a receiver's folder, below that of the installation. Only the lock and the sessions' files outlive a process. */
import path from 'node:path';

export interface ReceiverFolder {
  readonly lock: string;
  readonly controlSocket: string;
  readonly sessions: string;
}

export function receiverFolderOf(folder: string): ReceiverFolder {
  const inside = (name: string): string => path.join(folder, 'receiver', name);
  return { lock: inside('receiver.lock'), controlSocket: inside('control.sock'), sessions: inside('sessions') };
}
