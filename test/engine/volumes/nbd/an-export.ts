/** An export whose backend does nothing, but for what a test gives it. */
import type { Backend, Export } from '../../../../src/engine/volumes/nbd/export.ts';

const MIB = 1024 * 1024;

export const anExport = (backend: Partial<Backend> = {}, of: Partial<Export> = {}): Export => ({
  ...{ name: 'disk', description: '', sizeBytes: 64 * MIB, readOnly: false, multiConn: true, fastZero: false },
  blockSizes: { minimumBytes: 1, preferredBytes: 4096, maximumBytes: MIB },
  contexts: () => [],
  open: () => ({
    readNow: () => false,
    read: () => Promise.resolve(),
    readsZero: () => false,
    write: () => undefined,
    flush: () => undefined,
    trim: () => undefined,
    zero: () => undefined,
    cache: () => undefined,
    close: () => undefined,
    ...backend,
  }),
  ...of,
});
