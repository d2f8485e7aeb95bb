/**
 * Parsers of arguments and options that several commands share. Each refuses what does not fit before anything is done.
 * Every start of the command line loads this file, so it leaves zod and the stores alone.
 */
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { HoldfastError } from '../../domain/errors.ts';
import { NAME_PATTERN, storeName, volumeName, type StoreName, type VolumeName } from '../../domain/ids.ts';
import { checkPassphraseReference } from '../../ground/sealing/passphrase.ts';

/** For options that may be given again: `--store a --store b` and `--store a,b` are the same. */
export const storeNames = (text: string, before: readonly StoreName[] | undefined): readonly StoreName[] => [
  ...new Set([...(before ?? []), ...text.split(',').map((name) => storeName(name.trim()))]),
];

/** For an argument that may be several. */
export const volumeNames = (text: string, before: readonly VolumeName[] | undefined): readonly VolumeName[] => [
  ...new Set([...(before ?? []), volumeName(text)]),
];

/** The address of a store; a path of this machine stands for the folder's. Whoever opens it parses it. */
export const storeUrl = (text: string): string => (/^\.{0,2}\//.test(text) ? pathToFileURL(resolve(text)).href : text);

/** Never quoted back: it may be the passphrase itself, in the wrong place. */
export const passphraseReference = (text: string): string => checkPassphraseReference(text);

export const variableName =
  (field: string) =>
  (text: string): string => {
    if (!/^[A-Za-z_][A-Za-z0-9_]{0,199}$/.test(text))
      throw new HoldfastError('ARGUMENT_INVALID', `${field} is not the name of an environment variable`, {
        field,
        expected: 'a name such as AWS_ACCESS_KEY_ID, never what is in it',
      });
    return text;
  };

export function required<T>(value: T | undefined, field: string, expected: string): T {
  if (value === undefined) throw new HoldfastError('ARGUMENT_INVALID', `${field} is needed`, { field, expected });
  return value;
}

/** Of a receiver in the catalog. */
export function receiverName(text: string): string {
  if (NAME_PATTERN.test(text)) return text;
  throw new HoldfastError('ARGUMENT_INVALID', `receiver ${JSON.stringify(text.slice(0, 40))} is no name`, {
    field: 'receiver',
    expected: 'letters, digits, dots, dashes and underscores',
  });
}
