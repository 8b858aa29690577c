/** A recorded message once more: its steps and errors as the outcomes of effects, through the present chart and executor. */
import { openSqliteAuditReader } from '../../../src/adapters/sqlite-audit.ts';
import { formatTrail } from '../../../src/audit/trail-text.ts';
import { parseMessageId } from '../../../src/core/change.ts';
import { type CachewrightError, fail, isErrorCode } from '../../../src/core/errors.ts';
import { Run } from '../../../src/core/run.ts';
import { type AuditRecord, Trail, type TrailStep } from '../../../src/core/trail.ts';
import type { EffectOutcome, Effects } from '../../../src/pipeline/effect.ts';
import { createExecutor } from '../../../src/pipeline/executor.ts';
import { productionChart, silentLog } from '../../../src/testing/paths.ts';
import { createVirtualClock } from '../../../src/testing/virtual-clock.ts';
import { aService } from '../../support/service.ts';

const chart = productionChart();

/** How one execution went when it was played again. */
export interface Replayed {
  readonly execution: number;
  readonly recorded: readonly string[];
  readonly walked: readonly string[];
  readonly isSame: boolean;
}

/** Prints the recorded trail and how it went now. 0 when both are the same, 1 when not, 2 when there is no such trail. */
export async function replayTrail(asked: {
  readonly message: string;
  readonly audit: string | undefined;
  readonly url: string | undefined;
}): Promise<number> {
  const records = await recordsOf(asked);
  if (records.length === 0) {
    console.error(`There is no trail of ${asked.message}.`);
    return 2;
  }
  console.log(`${formatTrail(records)}\n`);
  const replayed = await replay(records);
  for (const { execution, recorded, walked, isSame } of replayed) {
    console.log(`execution ${execution}: ${isSame ? `the same, ${walked.at(-1)}` : 'NOT the same'}`);
    if (!isSame) console.log(`  recorded ${recorded.join(' · ')}\n  now      ${walked.join(' · ')}`);
  }
  const differing = replayed.filter(({ isSame }) => !isSame).length;
  console.log(`${replayed.length - differing} of ${replayed.length} executions end as they did`);
  return differing > 0 ? 1 : 0;
}

async function recordsOf(asked: {
  readonly message: string;
  readonly audit: string | undefined;
  readonly url: string | undefined;
}): Promise<readonly AuditRecord[]> {
  const { message, audit, url } = asked;
  if (audit !== undefined) {
    const reader = openSqliteAuditReader(audit);
    try {
      return await reader.find({ message, limit: 10_000 });
    } finally {
      await reader.close();
    }
  }
  if (url === undefined) throw new Error('Say where the trail is: --audit FILE, or --url URL of a service.');
  const token = process.env['CACHEWRIGHT_TOKEN'];
  const answer = await fetch(
    `${url}/v1/trail?${new URLSearchParams({ message, limit: '10000' }).toString()}`,
    {
      headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
    },
  );
  if (!answer.ok) throw new Error(`${url} answered ${answer.status}: ${await answer.text()}`);
  return ((await answer.json()) as { readonly trail: readonly AuditRecord[] }).trail;
}

/** Executions that took no step (died, waited behind another, were handed back) have nothing to play. */
export async function replay(records: readonly AuditRecord[]): Promise<Replayed[]> {
  const replayed: Replayed[] = [];
  let attempts = 0;
  for (const record of records) {
    if (record.state === 'lost') continue;
    if (record.steps.length > 0) replayed.push(await replayOne(record, attempts));
    attempts = record.attempts;
  }
  return replayed;
}

async function replayOne(record: AuditRecord, attempts: number): Promise<Replayed> {
  const { steps, message } = record;
  const { stream = '', position = '' } = parseMessageId(message) ?? {};
  const run = new Run(
    {
      origin: { stream, epoch: record.epoch, position },
      timestampMs: 0,
      key: null,
      value: null,
      headers: [],
    },
    0,
    0,
    steps[0]?.from ?? chart.initial,
    Trail.root(),
    attempts,
    record.startedMs,
  );
  run.change = {
    service: serviceOf(record),
    id: '',
    key: record.key,
    op: 'upsert',
    version: undefined,
    record: undefined,
  };
  let at = 0;
  const answer = (): EffectOutcome[] => {
    const step = steps[at];
    at += 1;
    return [
      step === undefined ? fail('E_SOURCE_OPEN', { service: record.service }) : outcomeOf(step, record),
    ];
  };
  const effects: Effects = Object.fromEntries(
    [...chart.states.values()].flatMap(({ effect }) => (effect === undefined ? [] : [[effect, answer]])),
  );
  const clock = createVirtualClock(record.startedMs);
  const executor = createExecutor({
    chart,
    effects,
    clock,
    log: silentLog,
    maxGroupRuns: 1,
    maxGroupBytes: 1 << 20,
    effectTimeoutMs: 5_000,
    defaultRetry: serviceOf(record).retry,
  });
  await executor.execute([run], new AbortController().signal);
  const recorded = [...steps.map(textOf), `ended ${record.state}`];
  const walked = [...run.trail.entries().slice(0, steps.length).map(textOf), `ended ${run.state}`];
  return { execution: record.execution, recorded, walked, isSame: recorded.join() === walked.join() };
}

/** The rule under which it ended as it did: its last attempt, or its horizon, was used up, or neither. */
function serviceOf({ state, attempts, error }: AuditRecord): ReturnType<typeof aService> {
  const isWaitedOut = error?.code === 'E_WAITED_TOO_LONG';
  return aService({
    retry: {
      attempts: state === 'gaveUp' && !isWaitedOut ? Math.max(1, attempts) : Number.MAX_SAFE_INTEGER,
      backoff: { initialMs: 1, factor: 1, maxMs: 1, jitter: 0 },
      horizonMs: isWaitedOut ? -1 : Number.MAX_SAFE_INTEGER,
    },
  });
}

function outcomeOf({ event }: TrailStep, { error }: AuditRecord): EffectOutcome {
  const recorded = (otherwise: CachewrightError): CachewrightError =>
    error !== null && isErrorCode(error.code) && error.code !== 'E_WAITED_TOO_LONG'
      ? fail(error.code, {})
      : otherwise;
  switch (event) {
    case 'waits':
      return fail('E_SOURCE_OPEN', {});
    case 'failed':
    case 'exhausted':
      return recorded(fail('E_FETCH_FAILED', {}));
    case 'rejected':
      return recorded(fail('E_MESSAGE_NOT_JSON', {}));
    default:
      return event;
  }
}

function textOf({ from, effect, event, to }: TrailStep): string {
  return `${from} –${effect}: ${event}→ ${to}`;
}
