#!/usr/bin/env node
/** A node: serves the queue of the host whose volumes it can read and write. */
import { ERROR_KINDS, isHoldfastError } from '../src/domain/errors.ts';
import { runWorkerProcess } from './worker-process.ts';

try {
  await runWorkerProcess('node', process.env);
} catch (error) {
  if (!isHoldfastError(error)) throw error;
  process.stderr.write(`error ${error.code}: ${error.message}\n  ${ERROR_KINDS[error.code].hint}\n`);
  process.exitCode = ERROR_KINDS[error.code].exitCode;
}
