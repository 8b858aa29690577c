/**
 * The import law (docs/ARCHITECTURE.md): core is the ground; machines, ingest, pipeline, read and audit stand on it
 * and reach the outside only through core/ports.ts; adapters implement ports and never import each other's rooms;
 * only app.ts knows both sides; server and cli sit on the app.
 */
const rooms = '^src/(ingest|pipeline|read|audit)/';
const drivers = '^(kafkajs|bullmq|ioredis|keyv|lru-cache|pg|undici|cockatiel|@bull-board|node-zookeeper-client|lz4-napi|node:sqlite)';
module.exports = {
  forbidden: [
    { name: 'no-cycles', severity: 'error', from: {}, to: { circular: true } },
    { name: 'core-is-the-ground', severity: 'error', from: { path: '^src/core/' }, to: { pathNot: '^(src/core/|node:)', dependencyTypesNot: ['core'] } },
    { name: 'machines-are-pure', severity: 'error', from: { path: '^machines/' }, to: { pathNot: '^(machines/|src/core/|node_modules/xstate)' } },
    { name: 'rooms-stand-on-core', severity: 'error', from: { path: rooms }, to: { path: '^src/(adapters|server|cli|config|app|index|reader|testing)' } },
    { name: 'rooms-do-not-mix', severity: 'error', from: { path: '^src/(ingest|pipeline|read|audit)/' }, to: { path: rooms, pathNot: '^src/$1/' } },
    { name: 'adapters-implement-ports', severity: 'error', from: { path: '^src/adapters/' }, to: { path: '^src/(ingest|pipeline|read|audit|server|cli|config|app|index|reader|testing)' } },
    { name: 'only-the-app-knows-adapters', severity: 'error', from: { path: '^src/', pathNot: '^src/(adapters/|app\\.ts|app/|reader\\.ts|cli/|testing\\.ts|audit/writer-thread\\.ts)' }, to: { path: '^src/adapters/' } },
    { name: 'drivers-only-in-adapters', severity: 'error', from: { path: '^(src|machines)/', pathNot: '^src/(adapters/|server/board\\.ts)' }, to: { path: drivers + '|^node_modules/' + drivers.slice(1) } },
    { name: 'nothing-sits-on-the-cli', severity: 'error', from: { pathNot: '^src/cli/' }, to: { path: '^src/cli/' } },
  ],
  options: {
    parser: 'swc',
    doNotFollow: { path: 'node_modules' },
    tsPreCompilationDeps: true,
    enhancedResolveOptions: { extensions: ['.ts', '.js'], conditionNames: ['import', 'node', 'default', 'types'], exportsFields: ['exports'] },
  },
};
