import { configureLogging, type Logger, type LogFormat, type LogLevel } from '../logging/logger.js';
import type { LiveConfig } from './live-config.js';
import { ConfigError, type ConfigSources, type LoadableConfig } from './load-config.js';

interface LoggedProgram extends LoadableConfig {
  readonly logLevel: LogLevel;
  readonly logFormat: LogFormat;
}

/** The SIGHUP handler: reloads the configuration and logs the outcome. An invalid configuration changes nothing. Never throws. */
export function reloadAndNotify<Config extends LoggedProgram>(live: LiveConfig<Config>, sources: ConfigSources, program: string, log: Logger): void {
  try {
    const { changed, needsRestart } = live.reload(sources);
    const { logLevel: level, logFormat: format } = live.settings;
    configureLogging({ level, format, program });
    if (needsRestart.length > 0) log.warn('changed settings that take effect after a restart', { settings: needsRestart });
    // Last, so that a reader who waits for this line has seen the other.
    log.info('configuration reloaded', { changed });
  } catch (error) {
    if (error instanceof ConfigError) log.error('configuration refused; the current one stays in effect', { problems: error.problems });
    else log.error('configuration could not be reloaded; the current one stays in effect', { error });
  }
}
