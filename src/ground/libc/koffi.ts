/** koffi, which calls C: loaded on first use, by synchronous callers. Throws where it has no binary for the platform. */
import { createRequire } from 'node:module';
import type * as Koffi from 'koffi';

// A require, because an import would be early or asynchronous. The types of koffi say `any` for what `func` returns.
export const loadKoffi = (): typeof Koffi => createRequire(import.meta.url)('koffi') as typeof Koffi;
