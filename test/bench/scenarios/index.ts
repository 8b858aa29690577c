import type { Scenario } from '../scenario.ts';
import { backlog } from './backlog.ts';
import { coherence } from './coherence.ts';
import { fleet } from './fleet.ts';
import { freshness1k, freshness10k } from './freshness.ts';
import { httpSource } from './http-source.ts';
import { keysGrowth } from './keys-growth.ts';
import { logCost } from './log-cost.ts';
import { memory } from './memory.ts';
import { reads } from './reads.ts';
import { shards } from './shards.ts';
import { sourceDown } from './source-down.ts';
import { startTime } from './start-time.ts';

/** In the order they run and are shown. */
export const SCENARIOS: readonly Scenario[] = [
  backlog,
  freshness1k,
  freshness10k,
  httpSource,
  sourceDown,
  keysGrowth,
  reads,
  memory,
  startTime,
  coherence,
  logCost,
  fleet,
  shards,
];
