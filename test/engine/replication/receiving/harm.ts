/** What becomes of a pack that a store has lost or damaged, done to its file. */
import { readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';

export type Damage = 'delete' | 'truncate' | 'corrupt';

export function harm(file: string, damage: Damage): void {
  switch (damage) {
    case 'delete':
      return rmSync(file);
    case 'truncate':
      return truncateSync(file, Math.floor(statSync(file).size / 2));
    case 'corrupt': {
      const bytes = readFileSync(file);
      for (let at = 64; at < bytes.length; at += 512) bytes[at] = (bytes[at] ?? 0) ^ 0xff;
      return writeFileSync(file, bytes);
    }
  }
}
