import type { LogLines } from './log-lines.ts';
import type { Look, TrailRecord } from './look.ts';
import { bold, dim, green, indent, print, red } from './screen.ts';
import type { Outgoing, Sender } from './send.ts';

/** A message, and how its journey has to end. */
export interface Journey extends Outgoing {
  readonly title: string;
  /** What to look for, as a sentence. */
  readonly look: string;
  readonly ends: string;
  /** Failed attempts on the way. @defaultValue 0 */
  readonly attempts?: number;
  /** Code of the error it ends with. @defaultValue none */
  readonly code?: string;
  /** Message id that has to have overtaken it. @defaultValue none */
  readonly supersededBy?: string;
  /** What both tiers have to hold afterwards; null: nothing; undefined: not looked at. */
  readonly value?: {
    readonly service: string;
    readonly id: string;
    readonly key: string;
    readonly text: string | null;
  };
}

/** Journeys so far, and what was not as expected. */
export interface Tour {
  /** Sends a message, shows its journey and holds it against what is expected. Returns its id. */
  travel(journey: Journey): Promise<string>;
  /** A sentence per surprise; empty: every journey ended as expected. */
  readonly problems: readonly string[];
  readonly count: number;
}

export function createTour(parts: {
  readonly sender: Sender;
  readonly look: Look;
  readonly log: LogLines;
}): Tour {
  const { sender, look, log } = parts;
  const problems: string[] = [];
  let count = 0;

  return {
    problems,
    get count() {
      return count;
    },
    async travel(journey) {
      count += 1;
      const name = `${count} ${journey.title}`;
      print(`\n${bold(name)}`);
      print(indent(journey.look, 2));
      print(indent(`→ ${journey.text}`, 2));
      const hide = log.show();
      const sentMs = performance.now();
      const message = await sender.send(journey);
      const executions = await look.journey(message);
      hide();
      const tookMs = performance.now() - sentMs;
      const surprises = [...surprisesOf(journey, executions), ...(await valueSurprises(journey, look))];
      print(
        `  ${verdict(executions, surprises)} ${dim(`${message}, ${(tookMs / 1_000).toFixed(1)} s until it was on record`)}`,
      );
      for (const surprise of surprises) print(red(`    ${surprise}`));
      problems.push(...surprises.map((surprise) => `${name}: ${surprise}`));
      return message;
    },
  };
}

function verdict(executions: readonly TrailRecord[], surprises: readonly string[]): string {
  const state = executions.at(-1)?.state ?? 'nowhere';
  return surprises.length === 0 ? green(`✓ ${state}`) : red(`✗ ${state}`);
}

function surprisesOf(journey: Journey, executions: readonly TrailRecord[]): string[] {
  const last = executions.at(-1);
  const expected: readonly (readonly [what: string, is: unknown, should: unknown])[] = [
    ['state', last?.state, journey.ends],
    ['failed attempts', last?.attempts, journey.attempts ?? 0],
    ['error', last?.error?.code ?? '', journey.code ?? ''],
    ['superseded by', last?.supersededBy, journey.supersededBy ?? ''],
  ];
  return expected
    .filter(([, is, should]) => is !== should)
    .map(([what, is, should]) => `${what} is ${JSON.stringify(is)}, expected was ${JSON.stringify(should)}`);
}

/** Shows what the tiers hold and compares it byte for byte. */
async function valueSurprises({ value }: Journey, look: Look): Promise<string[]> {
  if (value === undefined) return [];
  const inRedis = await look.redisGet(value.key);
  const served = await look.served(value.service, value.id);
  print(indent(`redis> GET ${value.key}\n${inRedis ?? '(nil)'}`, 2));
  print(
    indent(
      served === undefined ? 'local tier: no entry' : `${served.tier} tier: ${same(served.text, inRedis)}`,
      2,
    ),
  );
  const surprises: string[] = [];
  if (inRedis !== value.text) surprises.push(`Redis should hold ${value.text ?? 'nothing'}`);
  if ((served?.text ?? null) !== value.text)
    surprises.push(`the local tier should hold ${value.text ?? 'nothing'}`);
  if (served !== undefined && served.tier !== 'local')
    surprises.push(`the ${served.tier} tier answered, not the local one`);
  return surprises;
}

function same(text: string, other: string | null): string {
  return text === other ? 'the same bytes' : text;
}
