import { changeMessage, chartJson, chartMermaid, chartText, compileChart } from '../../machines/index.ts';
import { print } from './output.ts';

/** `cachewright machine`: the chart as text, `--json` or `--mermaid`. */
export function machineCommand(options: { readonly json: boolean; readonly mermaid: boolean }): void {
  const chart = compileChart(changeMessage);
  if (options.json) print(JSON.stringify(chartJson(chart), null, 2));
  else if (options.mermaid) print(chartMermaid(chart));
  else print(chartText(chart));
}
