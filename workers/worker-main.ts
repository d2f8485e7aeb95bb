/** How the entry of a worker ends when it cannot begin: with a code of the table, its hint, and its exit status. */
import { ERROR_KINDS, isHoldfastError } from '../src/domain/errors.ts';

export async function runMain(work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!isHoldfastError(error)) throw error;
    process.stderr.write(`error ${error.code}: ${error.message}\n  ${ERROR_KINDS[error.code].hint}\n`);
    process.exitCode = ERROR_KINDS[error.code].exitCode;
  }
}
