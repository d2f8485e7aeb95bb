/**
 * Where a name is held: counted by the table, in a pack that is there; or brought under this claim, in a pack that is there.
 */
import type { Location } from '../../repository/location.ts';
import type { Name } from '../messages.ts';
import type { BroughtValue } from './session-file.ts';
import type { SessionState } from './state.ts';

type Holdings = Pick<SessionState, 'repository' | 'inventory' | 'file'>;

/** Where the table says that a value lies, if it says so, and whether that pack is there. */
export function countedAt(
  { repository, inventory }: Holdings,
  name: Buffer,
): { readonly location: Location; readonly lost: boolean } | null {
  const location = repository.table.get(name)?.location;
  return location === undefined ? null : { location, lost: inventory.isLost(location.pack) };
}

/** Where this claim, or one that it keeps, has brought a value. */
export function broughtAt({ file, inventory }: Holdings, name: Buffer): BroughtValue | null {
  const value = file.brought(name);
  return value !== null && inventory.has(value.pack.id, value.pack.bytes) ? value : null;
}

export function isHeld(holdings: Holdings, name: Name): boolean {
  const bytes = Buffer.from(name, 'hex');
  return countedAt(holdings, bytes)?.lost === false || broughtAt(holdings, bytes) !== null;
}
