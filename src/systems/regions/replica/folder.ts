/** What lies where in a replica's folder (docs/replica.md, section 4). */
import path from 'node:path';

export interface ReplicaFolder {
  readonly root: string;
  readonly lock: string;
  readonly index: string;
  readonly log: string;
  readonly tokens: string;
  readonly controlSocket: string;
}

export function replicaFolderOf(folder: string): ReplicaFolder {
  const root = path.resolve(folder);
  const inside = (name: string): string => path.join(root, name);
  return {
    root,
    ...{ lock: inside('replica.lock'), index: inside('names.db'), log: inside('log'), tokens: inside('tokens.json') },
    controlSocket: inside('control.sock'),
  };
}
