/**
 * Map nodes that were read, for all repositories of a process together: what a process remembers does not grow with the
 * number of repositories that it has opened. Views of one fingerprint differ between repositories by their locators.
 */
import type { NodeView } from '../map/walk.ts';

/** 14 KiB each, so 14 MiB. A walk of a subtree touches 257. */
const NODES_MAX = 1024;

export interface NodeCache {
  get(fingerprint: Buffer): NodeView | null;
  set(fingerprint: Buffer, view: NodeView): void;
}

/** Gives each repository its part of one cache; the least recently used go, whosever they are. */
export function createNodeCaches(nodesMax: number = NODES_MAX): () => NodeCache {
  const nodes = new Map<string, NodeView>();
  let repositories = 0;
  return () => {
    const prefix = `${++repositories}:`;
    return {
      get(fingerprint) {
        const key = prefix + fingerprint.toString('hex');
        const view = nodes.get(key);
        if (view === undefined) return null;
        nodes.delete(key);
        nodes.set(key, view);
        return view;
      },
      set(fingerprint, view) {
        nodes.set(prefix + fingerprint.toString('hex'), view);
        for (const oldest of nodes.keys()) {
          if (nodes.size <= nodesMax) break;
          nodes.delete(oldest);
        }
      },
    };
  };
}
