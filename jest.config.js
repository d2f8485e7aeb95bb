/**
 * Jest runs the TypeScript sources as they are: Node 24 strips the types, so nothing is transformed, cached or mapped, and a
 * line number in a failure is the line in the file. Needs --experimental-vm-modules, which `npm test` passes.
 *
 * Two workers, because the servers that tests start want a core, too. The timeout suits a test with a real server in it, on a slow machine;
 * one that starts several, or provisions them, names a longer one itself.
 *
 * A worker keeps what suites leave behind, those with a Temporal worker in them most of all. At some 2 GB a collection takes a second, and
 * suites that take 10 seconds alone take minutes: a worker that has grown is replaced between two suites.
 */
export default {
  testEnvironment: 'node',
  setupFiles: ['<rootDir>/test/errors-across-realms.ts'],
  extensionsToTreatAsEsm: ['.ts'],
  transform: {},
  testMatch: ['<rootDir>/test/**/*.test.ts'],
  // Emitted files repeat the sources; recorded data and temporary trees hold no tests.
  modulePathIgnorePatterns: ['<rootDir>/dist/'],
  testTimeout: 120_000,
  maxWorkers: 2,
  workerIdleMemoryLimit: '150MB',
};
