/** Names of journals: as other names, and short enough that the lineages of their bases, `journal.<name>.<volume>`, are names, too. */
import { HoldfastError } from './errors.ts';
import { NAME_PATTERN } from './ids.ts';
import { JOURNAL_NAME_MAX } from './limits.ts';

/** ARGUMENT_INVALID, with the limit; null: it is a name. */
export function journalNameRefusal(text: string): HoldfastError | null {
  const expected = `1 to ${JOURNAL_NAME_MAX} letters, digits, dots, underscores or dashes, beginning with a letter or digit`;
  const isLong = NAME_PATTERN.test(text) && text.length > JOURNAL_NAME_MAX;
  if (isLong)
    return new HoldfastError('ARGUMENT_INVALID', `${text} is too long for the name of a journal: it has ${text.length} characters`, {
      field: 'journal',
      limit: JOURNAL_NAME_MAX,
      expected: `a name of at most ${JOURNAL_NAME_MAX} characters, for its bases are named after it; choose a shorter one`,
    });
  if (NAME_PATTERN.test(text)) return null;
  return new HoldfastError('ARGUMENT_INVALID', `${JSON.stringify(text.slice(0, 60))} is no name of a journal`, {
    ...{ field: 'journal', limit: JOURNAL_NAME_MAX, expected },
  });
}
