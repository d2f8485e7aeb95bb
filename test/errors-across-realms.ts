/**
 * Makes `instanceof Error` mean under Jest what it means in production.
 *
 * Jest runs each test file in a context of its own, with its own Error; what Node's fs, net and crypto throw are errors of the
 * outer one. Code that narrows with `error instanceof Error` would then treat ENOENT as no error at all, in tests only. Subclasses
 * keep the ordinary test.
 */
import { types } from 'node:util';

const ordinary = Function.prototype[Symbol.hasInstance];

Object.defineProperty(Error, Symbol.hasInstance, {
  value(this: unknown, value: unknown): boolean {
    return ordinary.call(this, value) || (this === Error && types.isNativeError(value));
  },
});
