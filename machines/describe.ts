import type { Chart } from './compile.ts';

/** The chart as plain data, for `cachewright machine --json`. */
export function chartJson(chart: Chart): object {
  return {
    id: chart.id,
    version: chart.version,
    initial: chart.initial,
    states: [...chart.states.values()].map(({ name, effect, final, on, resumesAt }) => ({
      name,
      final,
      ...(effect !== undefined && { effect, resumesAt }),
      on: Object.fromEntries(on),
    })),
  };
}

/** The chart as text: a line per state, its effect, and where each event leads. */
export function chartText(chart: Chart): string {
  const lines = [`${chart.id} (version ${chart.version}), begins in ${chart.initial}`, ''];
  for (const { name, effect, final, on } of chart.states.values()) {
    lines.push(final ? `${name}  final` : `${name}  waits for ${effect}`);
    for (const [event, target] of on) lines.push(`    ${event} → ${target}`);
  }
  return `${lines.join('\n')}\n`;
}

/** The chart as a Mermaid state diagram. */
export function chartMermaid(chart: Chart): string {
  const lines = ['stateDiagram-v2', `  [*] --> ${chart.initial}`];
  for (const { name, final, on } of chart.states.values()) {
    for (const [event, target] of on) lines.push(`  ${name} --> ${target}: ${event}`);
    if (final) lines.push(`  ${name} --> [*]`);
  }
  return `${lines.join('\n')}\n`;
}

/** docs/machine.md. */
export function chartMarkdown(chart: Chart): string {
  const rows = [...chart.states.values()].map(({ name, effect, final, on, resumesAt }) => {
    const ways = [...on].map(([event, target]) => `\`${event}\` → \`${target}\``).join(' · ');
    return `| \`${name}\` | ${final ? 'final' : `\`${effect}\``} | ${final ? '' : `\`${resumesAt}\``} | ${ways} |`;
  });
  return [
    '# The statechart of a change message',
    '',
    'Generated from `machines/change-message.ts` by `npm run docs`; a test holds this page equal to the chart.',
    '',
    '```mermaid',
    chartMermaid(chart).trimEnd(),
    '```',
    '',
    '| state | waits for effect | after a wait resumes at | leaves on |',
    '| --- | --- | --- | --- |',
    ...rows,
    '',
  ].join('\n');
}
