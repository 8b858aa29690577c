import { defineConfig } from 'vitest/config';

/** Suites that start servers share two cores with them: a handful of files at a time, generous deadlines. */
const withServers = {
  testTimeout: 120_000,
  hookTimeout: 180_000,
  maxWorkers: 2,
  // After the suites without servers: a broken rule of arithmetic should be known before the first broker is up.
  sequence: { groupOrder: 1 },
  globalSetup: ['test/support/servers/global.ts'],
};

export default defineConfig({
  test: {
    passWithNoTests: true,
    projects: [
      // Nothing here takes long; a busy machine may.
      { test: { name: 'unit', include: ['test/unit/**/*.test.ts'], testTimeout: 30_000 } },
      { test: { name: 'machine', include: ['test/machine/**/*.test.ts'] } },
      { test: { name: 'contract', include: ['test/contract/**/*.test.ts'], ...withServers } },
      { test: { name: 'integration', include: ['test/integration/**/*.test.ts'], ...withServers } },
      { test: { name: 'e2e', include: ['test/e2e/**/*.test.ts'], ...withServers } },
      { test: { name: 'chaos', include: ['test/chaos/**/*.test.ts'], ...withServers } },
    ],
  },
});
