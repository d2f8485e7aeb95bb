/** The version of the package, from the package.json that lies above the sources and the emitted files alike. */
import { readFile } from 'node:fs/promises';
import { z } from 'zod';

const packageSchema = z.object({ name: z.literal('holdfast'), version: z.string() });

export async function readVersion(): Promise<string> {
  // src/faces/cli in the sources, dist/src/faces/cli in the package.
  for (const up of ['../../../package.json', '../../../../package.json']) {
    const text = await readFile(new URL(up, import.meta.url), 'utf8').catch(() => null);
    const parsed = text === null ? null : packageSchema.safeParse(JSON.parse(text));
    if (parsed?.success === true) return parsed.data.version;
  }
  return 'unknown';
}
