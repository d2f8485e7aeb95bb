/** The version of the package, from the package.json that lies above the sources and the emitted files alike. */
import { readFile } from 'node:fs/promises';

// src/faces/cli in the sources, dist/src/faces/cli in the package.
const PLACES = ['../../../package.json', '../../../../package.json'] as const;

export async function readVersion(): Promise<string> {
  for (const place of PLACES) {
    const text = await readFile(new URL(place, import.meta.url), 'utf8').catch(() => null);
    const parsed: unknown = text === null ? null : JSON.parse(text);
    if (isOurs(parsed)) return parsed.version;
  }
  return 'unknown';
}

const isOurs = (value: unknown): value is { readonly version: string } =>
  typeof value === 'object' &&
  value !== null &&
  'name' in value &&
  value.name === 'holdfast' &&
  'version' in value &&
  typeof value.version === 'string';
