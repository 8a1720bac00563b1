import { AbsolutePath, Host, IntegerBetween, OneOf } from '../lib/config/config-rules.js';
import { FixedConfig } from '../lib/config/load-config.js';
import { LOG_FORMATS, LOG_LEVELS, type LogFormat, type LogLevel } from '../lib/logging/logger.js';

/** The tunnel server's validated configuration; names in file and environment follow HubConfig. It runs under its own account, so it has its own file. */
export class TunnelServerConfig extends FixedConfig {
  /** The same directory as the hub's. */
  @AbsolutePath() readonly tunnelDirectory: string = '/var/lib/sendense/tunnel';
  @Host() readonly tunnelListenHost: string = '0.0.0.0';
  /** 0: any free port. */
  @IntegerBetween(0, 65535) readonly tunnelListenPort: number = 9022;

  @OneOf(...LOG_LEVELS) readonly logLevel: LogLevel = 'info';
  @OneOf(...LOG_FORMATS) readonly logFormat: LogFormat = 'json';
}
