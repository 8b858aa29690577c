import { type LoadedConfig, loadConfig } from '../config/load-config.ts';
import type { GlobalOptions } from './command.ts';
import { say, yellow } from './output.ts';

/** Flags that set options of the configuration for this one call. */
export interface SettingFlags {
  readonly roles?: string;
  readonly kafkaBrokers?: string;
  readonly redisUrl?: string;
  readonly auditUrl?: string;
  readonly httpHost?: string;
  readonly httpPort?: string;
  readonly logLevel?: string;
  readonly logMessages?: string;
  readonly logFormat?: string;
}

/**
 * The resolved configuration; what it warns of is said on stderr.
 *
 * @throws `E_CONFIG_INVALID` with all problems, `E_CONFIG_UNREADABLE`
 */
export async function loadSettings(options: GlobalOptions & SettingFlags): Promise<LoadedConfig> {
  const loaded = await loadConfig({
    flags: {
      roles: options.roles,
      'kafka.brokers': options.kafkaBrokers,
      'redis.url': options.redisUrl,
      'audit.url': options.auditUrl,
      'http.host': options.httpHost,
      'http.port': options.httpPort,
      'log.level': options.logLevel,
      'log.messages': options.logMessages,
      'log.format': options.logFormat,
    },
    ...(options.config !== undefined && { file: options.config }),
  });
  for (const warning of loaded.warnings) say(`${yellow('warning')} ${warning}`, options.quiet);
  return loaded;
}
