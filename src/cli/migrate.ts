import { migrateSqliteAudit } from '../adapters/sqlite-audit.ts';
import type { Run } from './command.ts';
import { EXIT, print, say } from './output.ts';
import { loadSettings } from './settings.ts';

/** `cachewright migrate`: brings the audit store to this version's layout, as a start would. */
export const migrateCommand: Run<object> = async (options) => {
  const { config } = await loadSettings(options);
  const file = config.audit.url.slice('sqlite:'.length);
  const { from, to } = migrateSqliteAudit(file);
  if (options.json) print(JSON.stringify({ file, from, to }));
  else print(from === to ? `${file} has format ${to}` : `${file}: format ${from} → ${to}`);
  if (from === to) say('nothing to do', options.quiet);
  return EXIT.ok;
};
