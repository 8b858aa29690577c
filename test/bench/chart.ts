import { spreadOf } from './figures.ts';
import { type BenchResult, formatNumber, valuesOf } from './report.ts';
import type { ScenarioResult } from './scenario.ts';

const WIDTH = 860;
const LABEL_WIDTH = 250;
const BAR_WIDTH = 430;
const ROW = 24;
const COLOURS: Readonly<Record<string, string>> = {
  cachewright: '#0b6e4f',
  null: '#8a8d91',
  textbook: '#c8963e',
};

/** All figures as bars, one group per scenario and metric; the thin line is the spread over the runs. */
export function svgChart({ scenarios, surroundings }: BenchResult): string {
  const parts: string[] = [];
  let y = 54;
  for (const scenario of scenarios) {
    for (const metric of scenario.metrics) {
      const rows = rowsOf(scenario, metric.name);
      if (rows.length === 0) continue;
      parts.push(
        text(16, y, `${scenario.name}: ${metric.name}, ${metric.unit} (${metric.better} is better)`, 'title'),
      );
      const most = Math.max(...rows.map(({ spread }) => spread.max));
      for (const { subject, spread } of rows) {
        y += ROW;
        const x = (value: number): number => LABEL_WIDTH + (value / most) * BAR_WIDTH;
        const colour = COLOURS[subject] ?? '#3f6fb5';
        parts.push(
          text(LABEL_WIDTH - 10, y, subject, 'label'),
          `<rect x="${LABEL_WIDTH}" y="${y - 12}" width="${(x(spread.median) - LABEL_WIDTH).toFixed(1)}" height="15" fill="${colour}"/>`,
          `<line x1="${x(spread.min).toFixed(1)}" x2="${x(spread.max).toFixed(1)}" y1="${y - 4.5}" y2="${y - 4.5}" class="spread"/>`,
          text(LABEL_WIDTH + BAR_WIDTH + 12, y, formatNumber(spread.median, metric.digits), 'value'),
        );
      }
      y += ROW * 1.6;
    }
  }
  const style =
    'text{font:13px system-ui,sans-serif;fill:#1d2125}.title{font-weight:600}.label{text-anchor:end}.small{font-size:11px;fill:#5c6166}.spread{stroke:#1d2125;stroke-width:1.5}';
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${y}" viewBox="0 0 ${WIDTH} ${y}" role="img" aria-label="Benchmark results">`,
    `<style>${style}</style><rect width="100%" height="100%" fill="#fff"/>`,
    text(
      16,
      24,
      `${surroundings.machine} · commit ${surroundings.commit} · ${surroundings.at.slice(0, 10)}`,
      'small',
    ),
    ...parts,
    '</svg>\n',
  ].join('\n');
}

function rowsOf(
  scenario: ScenarioResult,
  metric: string,
): { subject: string; spread: ReturnType<typeof spreadOf> }[] {
  return scenario.subjects.flatMap((subject) => {
    const values = valuesOf(subject, metric);
    return values.length === 0 ? [] : [{ subject: subject.subject, spread: spreadOf(values) }];
  });
}

function text(x: number, y: number, content: string, style: string): string {
  const escaped = content.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
  return `<text x="${x}" y="${y}" class="${style}">${escaped}</text>`;
}
