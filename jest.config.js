/** @type {import('jest').Config} */
export default {
  testEnvironment: 'node',
  // The default of five seconds is about the machine, not about the test, wherever programs are started and files synced.
  testTimeout: 60_000,
  globalSetup: '<rootDir>/test/support/run-setup.mjs',
  globalTeardown: '<rootDir>/test/support/run-teardown.mjs',
  roots: ['<rootDir>/src', '<rootDir>/projections', '<rootDir>/test'],
  testSequencer: '<rootDir>/test/run/longest-first.mjs',
  testRegex: '\\.spec\\.ts$',
  // What takes too long for every change.
  testPathIgnorePatterns: process.env.SENDENSE_PROOF === 'full' ? ['/node_modules/'] : ['/node_modules/', '\\.proof\\.spec\\.ts$'],
  extensionsToTreatAsEsm: ['.ts'],
  moduleNameMapper: { '^(\\.{1,2}/.*)\\.js$': '$1' },
  transform: {
    '^.+\\.ts$': [
      '@swc/jest',
      {
        jsc: {
          target: 'es2024',
          parser: { syntax: 'typescript', decorators: true },
          transform: { legacyDecorator: true, decoratorMetadata: true, useDefineForClassFields: false },
        },
        module: { type: 'es6' },
      },
    ],
  },
};
