import type { Scenario } from '../scenario.ts';
import { backlog } from './backlog.ts';
import { freshness1k, freshness10k } from './freshness.ts';
import { startTime } from './start-time.ts';

/** In the order they run and are shown. */
export const SCENARIOS: readonly Scenario[] = [backlog, freshness1k, freshness10k, startTime];
