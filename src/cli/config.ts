import { systemClock } from '../core/clock.ts';
import type { Run } from './command.ts';
import { EXIT, print, say } from './output.ts';
import { loadSettings, type SettingFlags } from './settings.ts';

/** `cachewright config print`: the resolved configuration as JSON, or a line per value with its source. */
export const configPrintCommand: Run<SettingFlags & { readonly sources: boolean }> = async (options) => {
  const loaded = await loadSettings(options);
  const { configEntries, printConfig, printSources } = await import('../config/print.ts');
  if (!options.sources) print(printConfig(loaded));
  else if (options.json) print(JSON.stringify(configEntries(loaded), null, 2));
  else print(printSources(loaded));
  return EXIT.ok;
};

/** `cachewright config check`: throws with all problems; compiles the services too, so that their schemas are looked at. */
export const configCheckCommand: Run<SettingFlags> = async (options) => {
  const { config, warnings } = await loadSettings(options);
  const { compileMappings, compileServices } = await import('../app/services.ts');
  compileMappings(config);
  const services = compileServices(config, systemClock());
  await Promise.all([...services.values()].map(({ source }) => source.close()));
  if (options.json) print(JSON.stringify({ ok: true, warnings, services: [...services.keys()] }));
  say(`the configuration is fine: ${services.size} service(s)`, options.quiet);
  return EXIT.ok;
};
