import { changeMessage, chartJson, chartMermaid, chartText, compileChart } from '../../machines/index.ts';
import type { Run } from './command.ts';
import { EXIT, print } from './output.ts';

/** `cachewright machine`: the chart as text, `--json` or `--mermaid`. */
export const machineCommand: Run<{ readonly mermaid: boolean }> = async (options) => {
  const chart = compileChart(changeMessage);
  if (options.json) print(JSON.stringify(chartJson(chart), null, 2));
  else if (options.mermaid) print(chartMermaid(chart));
  else print(chartText(chart));
  return EXIT.ok;
};
