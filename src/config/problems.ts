/** What is wrong with a configuration, in words: where, which value, where it came from, and what is allowed. */
import type { z } from 'zod';
import { type CachewrightError, type ErrorCode, fail } from '../core/errors.ts';
import { didYouMean } from './did-you-mean.ts';
import type { Draft, Problem } from './draft.ts';
import { shown } from './secrets.ts';
import { formatPath, type Path, pick, type Shape, shapeAt, valueAtPath } from './shape.ts';

/** A problem of the value at a path. */
export function problemAt(draft: Draft, path: Path, message: string, code?: ErrorCode): Problem {
  const shape = shapeAt(draft.root, path, draft.value);
  return {
    path: formatPath(path),
    value: shape === undefined ? undefined : shown(shape, valueAtPath(draft.value, path)),
    source: draft.placeOf(path),
    message,
    ...(code !== undefined && { code }),
  };
}

/** A problem and the path it lies at. */
export interface Found {
  readonly path: Path;
  readonly problem: Problem;
}

/** The schema's own findings in our words. */
export function problemsOfIssue(draft: Draft, issue: z.core.$ZodIssue, above: Path = []): Found[] {
  const path = [...above, ...issue.path.map((name) => (typeof name === 'symbol' ? String(name) : name))];
  if (issue.code === 'unrecognized_keys') return issue.keys.map((key) => unknownOption(draft, path, key));
  const shape = shapeAt(draft.root, path, draft.value);
  const value = valueAtPath(draft.value, path);
  if (issue.code === 'invalid_union' && shape?.kind === 'choice') {
    const fitting = issue.errors.find((issues) => !issues.some(isOfOtherType));
    if (fitting !== undefined) return fitting.flatMap((nested) => problemsOfIssue(draft, nested, path));
  }
  return [{ path, problem: problemAt(draft, path, messageOf(issue, shape, value)) }];
}

function isOfOtherType(issue: z.core.$ZodIssue): boolean {
  return issue.code === 'invalid_type' && issue.path.length === 0;
}

function messageOf(issue: z.core.$ZodIssue, shape: Shape | undefined, value: unknown): string {
  const isOwn = issue.code === 'custom' && issue.message !== 'Invalid input' && value !== undefined;
  if (isOwn) return issue.message;
  if (issue.code === 'invalid_key') return `allowed is ${issue.issues[0]?.message ?? 'another name'}`;
  const allowed =
    issue.code === 'invalid_union' && 'options' in issue && Array.isArray(issue.options)
      ? issue.options.map((option) => JSON.stringify(option)).join(' or ')
      : allowedIn(shape);
  return value === undefined ? `is missing; allowed is ${allowed}` : `allowed is ${allowed}`;
}

/** What a shape allows, in words. */
export function allowedIn(shape: Shape | undefined): string {
  if (shape === undefined) return 'nothing';
  if (shape.kind === 'choice') {
    const tags = shape.options.flatMap(tagsOf);
    if (tags.length > 0) return `an object with ${tags.join(' or ')}`;
    return shape.options.map(allowedIn).join(', or ');
  }
  return shape.meta?.allowed ?? (shape.kind === 'record' ? 'an object' : 'another value');
}

/** `type: "http"`, for a variant that has a tag. */
function tagsOf(shape: Shape): string[] {
  if (shape.kind !== 'section') return [];
  return [...shape.fields].flatMap(([name, { meta }]) =>
    (meta?.tag ?? []).map((value) => `${name}: ${JSON.stringify(value)}`),
  );
}

/** Its value is not shown: a misspelt `password` holds one. */
function unknownOption(draft: Draft, above: Path, key: string): Found {
  const shape = shapeAt(draft.root, above, draft.value);
  const section = shape === undefined ? undefined : pick(shape, valueAtPath(draft.value, above));
  const known = section?.kind === 'section' ? [...section.fields.keys()] : [];
  const path = [...above, key];
  const message = `there is no such option.${didYouMean(key, known)} Known here: ${known.join(', ')}.`;
  return {
    path,
    problem: { path: formatPath(path), value: undefined, source: draft.placeOf(path), message },
  };
}

/** The one error of all problems. A single problem with a code of its own is thrown under that code. */
export function errorOf(problems: readonly Problem[]): CachewrightError {
  const [only] = problems;
  if (problems.length === 1 && only?.code !== undefined) {
    return fail(only.code, { host: only.value, path: only.path, list: problems });
  }
  return fail('E_CONFIG_INVALID', {
    count: problems.length,
    problems: problems.map((problem) => `  ${formatProblem(problem)}`).join('\n'),
    list: problems,
  });
}

/** `http.port = 70000 (env CACHEWRIGHT_HTTP_PORT): allowed is a whole number from 0 to 65,535` */
export function formatProblem({ path, value, source, message, code }: Problem): string {
  const given = value === undefined ? '' : ` = ${value}`;
  return `${path}${given} (${source}): ${code === undefined ? '' : `${code}: `}${message}`;
}
