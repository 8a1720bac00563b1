import { configureLogging, type Logger, type LogFormat, type LogLevel } from '../logging/logger.js';
import type { LiveConfig } from './live-config.js';
import { ConfigError, type ConfigSources, type LoadableConfig } from './load-config.js';

interface LoggedProgram extends LoadableConfig {
  readonly logLevel: LogLevel;
  readonly logFormat: LogFormat;
}

/** What SIGHUP does: reads the configuration anew and says in the log what came of it. A refused one changes nothing. Never throws. */
export function reloadAndTell<Config extends LoggedProgram>(live: LiveConfig<Config>, sources: ConfigSources, program: string, log: Logger): void {
  try {
    const { changed, needsRestart } = live.reload(sources);
    const { logLevel: level, logFormat: format } = live.settings;
    configureLogging({ level, format, program });
    log.info('the configuration was reloaded', { changed });
    if (needsRestart.length > 0) log.warn('these settings have other values now, which take effect with the next start', { settings: needsRestart });
  } catch (error) {
    if (error instanceof ConfigError) log.error('the configuration is refused, and the one in effect stays', { problems: error.problems });
    else log.error('the configuration could not be reloaded, and the one in effect stays', { error });
  }
}
