import { AbsolutePath, AbsolutePaths, IntegerBetween, OneOf } from '../lib/config/config-rules.js';
import { FixedConfig } from '../lib/config/load-config.js';
import { LOG_FORMATS, LOG_LEVELS, type LogFormat, type LogLevel } from '../lib/logging/logger.js';

/** The keeper's validated configuration; names in file and environment follow HubConfig. It takes nothing from the hub. */
export class KeeperConfig extends FixedConfig {
  /** The repositories whose restore points it locks. */
  @AbsolutePaths() readonly repositories: readonly string[] = [];
  /** Belongs to the keeper alone: it holds the longest locks that it has seen, and its clock. */
  @AbsolutePath() readonly stateDirectory: string = '/var/lib/sendense-keeper';
  /** Pause between two looks at the repositories. */
  @IntegerBetween(1, 3600) readonly scanIntervalSeconds: number = 10;
  /** Locks every restore point for this long from when it is first seen, whatever its manifest says. */
  @IntegerBetween(0, 36_500) readonly lockDays: number = 0;
  /** The longest lock that a manifest may demand, from when it is first seen, so that a wrong one does not fill the repository permanently. */
  @IntegerBetween(1, 36_500) readonly longestLockDays: number = 3650;

  @OneOf(...LOG_LEVELS) readonly logLevel: LogLevel = 'info';
  @OneOf(...LOG_FORMATS) readonly logFormat: LogFormat = 'json';
}
