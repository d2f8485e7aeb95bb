/**
 * Names and identifiers, each with one constructor that refuses what is not one.
 *
 * A brand is a compile-time mark only: at run time an id is the string that is stored and shown. All of them use letters,
 * digits, `.`, `_` and `-` alone (a lineage adds one `@`), so that they can stand in object names and workflow ids.
 */
import { HoldfastError } from './errors.ts';

declare const brand: unique symbol;
type Branded<Name extends string> = string & { readonly [brand]: Name };

export type VolumeName = Branded<'VolumeName'>;
export type StoreName = Branded<'StoreName'>;
export type RepositoryName = Branded<'RepositoryName'>;
export type SnapshotId = Branded<'SnapshotId'>;
/** `<volume>@<incarnation>`: one life of a volume. A volume that comes back after RETIRE starts the next incarnation. */
export type Lineage = Branded<'Lineage'>;

export const NAME_PATTERN = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;
/** 26 characters of Crockford base32 in lower case: 48 bits of epoch milliseconds, 80 random bits (the ULID form). */
export const SNAPSHOT_ID_PATTERN = /^[0-7][0-9a-hjkmnp-tv-z]{25}$/;
/** A disk that a host serves: a volume's name, or that of a snapshot restored as a disk, `<volume>.<snapshot>`. */
export const DISK_PATTERN = /^[A-Za-z0-9][A-Za-z0-9._-]{0,94}$/;
export const LINEAGE_PATTERN = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}@[1-9][0-9]{0,8}$/;

const constructor =
  <T extends string>(pattern: RegExp, field: string, expected: string) =>
  (text: string): T => {
    if (!pattern.test(text))
      throw new HoldfastError('ARGUMENT_INVALID', `${field} ${JSON.stringify(text.slice(0, 80))} is not valid`, { field, expected });
    return text as T;
  };

const nameForm = '1 to 63 letters, digits, dots, underscores or dashes, beginning with a letter or digit';
export const volumeName = constructor<VolumeName>(NAME_PATTERN, 'volume name', nameForm);
export const storeName = constructor<StoreName>(NAME_PATTERN, 'store name', nameForm);
export const repositoryName = constructor<RepositoryName>(NAME_PATTERN, 'repository name', nameForm);
export const snapshotId = constructor<SnapshotId>(
  SNAPSHOT_ID_PATTERN,
  'snapshot id',
  '26 characters as `holdfast snapshot list` prints them',
);
export const lineage = constructor<Lineage>(LINEAGE_PATTERN, 'lineage', 'VOLUME@INCARNATION');

export const lineageOf = (volume: VolumeName, incarnation: number): Lineage => lineage(`${volume}@${incarnation}`);
export const volumeOf = (of: Lineage): VolumeName => volumeName(of.slice(0, of.lastIndexOf('@')));

const BASE32 = '0123456789abcdefghjkmnpqrstvwxyz';

/** A new snapshot id. Time and randomness are arguments, so that a workflow can make one deterministically. */
export function newSnapshotId(nowMs: number, random: () => number): SnapshotId {
  let text = '';
  for (let i = 0, t = nowMs; i < 10; i++, t = Math.floor(t / 32)) text = BASE32.charAt(t % 32) + text;
  for (let i = 0; i < 16; i++) text += BASE32.charAt(Math.floor(random() * 32));
  return snapshotId(text);
}
