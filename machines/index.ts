export { changeMessage, type StateMeta } from './change-message.ts';
export { type Chart, type ChartState, compileChart } from './compile.ts';
export { chartJson, chartMarkdown, chartMermaid, chartText } from './describe.ts';
export { adoptState, machineName, type Migration, migrations } from './snapshot.ts';
