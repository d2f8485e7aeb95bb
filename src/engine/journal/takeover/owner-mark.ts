/**
 * Who owns an epoch, as its OPEN says: a name for people, and a mark that no other OPEN has.
 *
 * The mark tells an OPEN of ours whose answer was lost from one of somebody else by the same name: J1 allows one process to write in an
 * epoch, and a name may have two that do not know of each other.
 */
import { HoldfastError } from '../../../domain/errors.ts';
import type { Environment } from '../../repository/environment.ts';

const MARK_BYTES = 8;
const NAME_CHARACTERS_MAX = 150;

export function markedOwner(name: string, { random }: Pick<Environment, 'random'>): string {
  if (name.length === 0 || name.length > NAME_CHARACTERS_MAX)
    throw new HoldfastError('ARGUMENT_INVALID', 'the name of an owner has 1 to 150 characters', { field: 'owner' });
  return `${name} ${random(MARK_BYTES).toString('hex')}`;
}

/** The name alone, with which the owner called itself. */
export const ownerName = (owner: string): string => owner.slice(0, Math.max(0, owner.lastIndexOf(' ')));
