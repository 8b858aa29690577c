import type { Environment } from './draft.ts';
import { loadFile } from './load-file.ts';
import { resolveConfig, type ResolvedConfig } from './resolve.ts';

export interface LoadOptions {
  /** See {@link ResolveOptions.flags}. */
  readonly flags?: Readonly<Record<string, unknown>>;
  /** Default: the process's own. */
  readonly env?: Environment;
  /** Default: the process's own. */
  readonly cwd?: string;
  /** The configuration file; default: `CACHEWRIGHT_CONFIG`, then the first `cachewright.config.{ts,js,mjs,json}` of `cwd`. */
  readonly file?: string | undefined;
}

export interface LoadedConfig extends ResolvedConfig {
  /** The file that was read, absolute; undefined: none. */
  readonly file: string | undefined;
}

/**
 * The configuration of this process.
 *
 * @throws `E_CONFIG_UNREADABLE`, `E_CONFIG_INVALID`, `E_HOST_UNPROTECTED`
 */
export async function loadConfig(options: LoadOptions = {}): Promise<LoadedConfig> {
  const { cwd = process.cwd(), env = process.env, flags = {} } = options;
  const loaded = await loadFile(cwd, options.file ?? (env['CACHEWRIGHT_CONFIG'] || undefined));
  const resolved = resolveConfig({
    cwd,
    env,
    flags,
    ...(loaded !== undefined && {
      input: loaded.content,
      label: `file ${loaded.shownAs}`,
      baseDir: loaded.baseDir,
    }),
  });
  return {
    ...resolved,
    file: loaded?.file,
    warnings: [...(loaded?.warnings ?? []), ...resolved.warnings],
  };
}
