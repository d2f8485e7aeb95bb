/**
 * Source patches: production modules as the simulation loads them.
 *
 * Production code knows nothing of the simulation: no flags, no hooks. What a run needs changed (a small scale, a safeguard
 * taken out) is a textual patch that Node's module loader applies on the way in, in this process only. A patch whose text
 * is not found exactly once, or whose file is never loaded, is an error: a mutant that mutates nothing proves nothing.
 */
import { registerHooks } from 'node:module';
import { fileURLToPath, pathToFileURL } from 'node:url';

export interface Patch {
  /** From the project's root. */
  readonly file: string;
  readonly find: string;
  readonly replace: string;
}

const ROOT = new URL('../../', import.meta.url);

/** Applies patches to modules loaded from now on; the function returned throws when one was never applied. */
export function installPatches(patches: readonly Patch[]): () => void {
  const waiting = new Set(patches);
  const byUrl = new Map<string, Patch[]>();
  for (const patch of patches) {
    const url = pathToFileURL(fileURLToPath(new URL(patch.file, ROOT))).href;
    byUrl.set(url, [...(byUrl.get(url) ?? []), patch]);
  }
  registerHooks({
    load(url, context, nextLoad) {
      const loaded = nextLoad(url, context);
      const mine = byUrl.get(url);
      if (!mine) return loaded;
      let source = typeof loaded.source === 'string' ? loaded.source : Buffer.from(loaded.source as Uint8Array).toString('utf8');
      for (const patch of mine) {
        const times = source.split(patch.find).length - 1;
        if (times !== 1) throw new Error(`a patch of ${patch.file} finds its text ${times} times instead of once:\n${patch.find}`);
        source = source.replace(patch.find, () => patch.replace);
        waiting.delete(patch);
      }
      return { ...loaded, source };
    },
  });
  return () => {
    for (const patch of waiting) throw new Error(`a patch of ${patch.file} was never applied: the file was not loaded`);
  };
}
