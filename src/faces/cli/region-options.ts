/** Names of journals and of their regions, as commands take them. */
import { HoldfastError } from '../../domain/errors.ts';
import { NAME_PATTERN, storeName, type StoreName } from '../../domain/ids.ts';
import { journalNameRefusal } from '../../domain/journal-name.ts';

export function journalName(text: string): string {
  const refusal = journalNameRefusal(text);
  if (refusal !== null) throw refusal;
  return text;
}

export interface RegionOption {
  readonly region: StoreName;
  readonly domain: string;
}

/** `STORE`, or `STORE:DOMAIN`: what fails at once with it. */
export function memberOf(text: string, before: readonly RegionOption[] | undefined): readonly RegionOption[] {
  const [store = '', domain = store] = text.split(':');
  if (NAME_PATTERN.test(domain)) return [...(before ?? []), { region: storeName(store), domain }];
  throw new HoldfastError('ARGUMENT_INVALID', `${JSON.stringify(text.slice(0, 80))} is no region`, {
    field: '--region',
    expected: 'STORE or STORE:DOMAIN',
  });
}
