/**
 * The first bytes of a stored thing say its kind; the last byte of them says the version (docs/format.md, section 13).
 *
 * A known kind of a higher version was written by a newer Holdfast: UPGRADE_REQUIRED, and no word of damage. Where that byte
 * is not under a digest or a tag that has been checked, a flipped bit looks the same; callers then try what they know, and
 * what opens as the version that they know is damaged and not new.
 */
import { HoldfastError } from '../../domain/errors.ts';

/** Whether the bytes begin as `magic` does and have a higher version than it. */
export function isNewer(bytes: Uint8Array, magic: Uint8Array): boolean {
  const last = magic.length - 1;
  return Buffer.from(magic.subarray(0, last)).equals(bytes.subarray(0, last)) && (bytes[last] ?? 0) > (magic[last] ?? 0);
}

export const upgradeRequired = (what: string, object: string): HoldfastError =>
  new HoldfastError('UPGRADE_REQUIRED', `${what} was written by a newer Holdfast`, { object });
