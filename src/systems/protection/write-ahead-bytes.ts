import { readdir, stat } from 'node:fs/promises';
import path from 'node:path';

/** How much room the write-ahead file in use takes; 0 where there is none. Segments go while it looks. */
export async function bytesIn(folder: string): Promise<number> {
  let bytes = 0;
  for (const name of await readdir(folder, { recursive: true }).catch(() => [])) {
    if (!name.startsWith('life-') || !name.endsWith('.wal')) continue;
    bytes += (await stat(path.join(folder, name)).catch(() => ({ size: 0 }))).size;
  }
  return bytes;
}
