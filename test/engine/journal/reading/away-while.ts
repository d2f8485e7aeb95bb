/** A region's store that is away while its name is among these. */
import { HoldfastError } from '../../../../src/domain/errors.ts';
import type { ObjectStore } from '../../../../src/ground/stores/object-store.ts';

export const awayWhile =
  (away: ReadonlySet<string>) =>
  (region: string, store: ObjectStore): ObjectStore =>
    new Proxy(store, {
      get(target, property, receiver) {
        const member: unknown = Reflect.get(target, property, receiver);
        if (typeof member !== 'function' || !away.has(region)) return member;
        return () => Promise.reject(new HoldfastError('STORE_UNREACHABLE', `${region} is away`));
      },
    });
