/**
 * The import law (docs/ARCHITECTURE.md §4): core is the ground; machines, ingest, pipeline, read and audit stand on it
 * and reach the outside only through core/ports.ts; adapters implement ports; only the app and the package's entries
 * know both sides; server and cli sit on the app. test/unit/import-law.test.ts plants a violation of every rule.
 */
const rooms = '^src/(ingest|pipeline|read|audit|dead-letters)/';
const drivers =
  '(kafkajs|bullmq|ioredis|keyv|lru-cache|pg|undici|cockatiel|@bull-board|node-zookeeper-client|lz4-napi)';
/** Roots of their own: the app, the entries of the package, the audit thread. They put adapters and rooms together. */
const roots = '^src/(app/|cli/|reader\\.ts|testing\\.ts|testing/|audit/writer-thread\\.ts)';

module.exports = {
  forbidden: [
    {
      name: 'no-cycles',
      comment: 'Types may refer to each other; code that runs may not.',
      severity: 'error',
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
    },
    {
      name: 'everything-is-found',
      severity: 'error',
      from: {},
      to: { couldNotResolve: true },
    },
    {
      name: 'core-is-the-ground',
      severity: 'error',
      from: { path: '^src/core/' },
      to: { pathNot: '^src/core/', dependencyTypesNot: ['core'] },
    },
    {
      name: 'machines-are-pure',
      severity: 'error',
      from: { path: '^machines/' },
      to: { pathNot: '^(machines/|src/core/|node_modules/xstate/)' },
    },
    {
      name: 'rooms-stand-on-core',
      comment: 'Outside is reached through core/ports.ts only.',
      severity: 'error',
      from: { path: rooms, pathNot: roots },
      // secure-json-parse is a pure function.
      to: {
        pathNot: '^(src/core/|machines/|src/$1/|node_modules/secure-json-parse/)',
        dependencyTypesNot: ['core'],
      },
    },
    {
      name: 'adapters-implement-ports',
      severity: 'error',
      from: { path: '^src/adapters/' },
      to: { path: '^(src|machines)/', pathNot: '^src/(adapters|core)/' },
    },
    {
      name: 'config-and-server-stand-on-core',
      severity: 'error',
      from: { path: '^src/(config|server)/' },
      to: { path: '^(src|machines)/', pathNot: '^src/($1|core)/' },
    },
    {
      name: 'only-roots-know-adapters',
      severity: 'error',
      from: { path: '^(src|machines)/', pathNot: ['^src/adapters/', roots] },
      to: { path: '^src/adapters/' },
    },
    {
      name: 'drivers-only-in-adapters',
      comment: 'The queue page is drawn by bull-board, which is handed the queues.',
      severity: 'error',
      from: { path: '^(src|machines)/', pathNot: '^src/(adapters/|server/board\\.ts)' },
      to: { path: `^node_modules/${drivers}/|^node:sqlite$` },
    },
    {
      name: 'nothing-sits-on-the-cli',
      severity: 'error',
      from: { pathNot: '^src/cli/' },
      to: { path: '^src/cli/' },
    },
  ],
  options: {
    // TypeScript 7 has no API that this tool can use. swc's parser reads our sources whole, type-only imports included.
    parser: 'swc',
    doNotFollow: { path: 'node_modules' },
    enhancedResolveOptions: {
      extensions: ['.ts', '.js'],
      conditionNames: ['import', 'node', 'default', 'types'],
      exportsFields: ['exports'],
    },
  },
};
