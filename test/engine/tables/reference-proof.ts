/** The hash of a past state as docs/tables.md, section 9 has it, written a second time. */
import { createHash } from 'node:crypto';
import type { ModelTable } from './source-model.ts';

export function referenceHash(table: ModelTable): string {
  let sum = 0n;
  for (const [key, row] of table) {
    const cells = [...row].sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, text]) => `\n${JSON.stringify(name)}:${text}`);
    sum += BigInt(
      `0x${createHash('sha256')
        .update(key + cells.join(''))
        .digest('hex')
        .slice(0, 32)}`,
    );
  }
  return (sum % (1n << 128n)).toString(16).padStart(32, '0');
}
