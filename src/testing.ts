/**
 * `cachewright/testing`: runs services over recorded messages and sources in memory, walks the statechart's paths, and
 * gives the fakes that the product's own contract suites hold equal to the real thing. docs/testing.md shows how.
 */
export { createMemoryAudit } from './adapters/memory-audit.ts';
export { MemoryCluster } from './adapters/memory-cluster.ts';
export { createMemoryMarks, type MemoryMarks } from './adapters/memory-marks.ts';
export { createMemorySource, type MemorySourceOptions } from './adapters/memory-source.ts';
export { createMemoryRedisTier, type MemoryRedisTier } from './adapters/memory-tiers.ts';
export { CachewrightError, type ErrorCode, fail } from './core/errors.ts';
export type {
  AuditStore,
  ChangeSource,
  Clock,
  DeadLetter,
  Log,
  MarkStore,
  RedisTier,
} from './core/ports.ts';
export type { AuditRecord, TrailStep } from './core/trail.ts';
export type { CachedRecord } from './read/cached-record.ts';
export {
  createHarness,
  type Harness,
  type HarnessMessage,
  type HarnessOptions,
  type SendOptions,
} from './testing/harness.ts';
export { type ChartPath, chartPaths, runPath, silentLog } from './testing/paths.ts';
export type { Recorded, RecordedRecord, RecordedSources } from './testing/recorded-source.ts';
export { createVirtualClock, type VirtualClock } from './testing/virtual-clock.ts';
