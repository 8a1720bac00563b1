import { AbsolutePath, OneOf } from '../../lib/config/config-rules.js';
import { FixedConfig } from '../../lib/config/load-config.js';
import { LOG_FORMATS, LOG_LEVELS, type LogFormat, type LogLevel } from '../../lib/logging/logger.js';

/** The mount helper's validated configuration; names in file and environment follow HubConfig. It runs as root, so it has its own file. */
export class MountsConfig extends FixedConfig {
  /** Folder of the mount points. Only root may write to it. */
  @AbsolutePath() readonly mountsDirectory: string = '/var/lib/sendense-mounts';
  /** Folder of the files with accounts of CIFS servers, each of mode 0600. */
  @AbsolutePath() readonly mountCredentialsDirectory: string = '/etc/sendense/mounts/credentials';
  @AbsolutePath() readonly mountHelperSocket: string = '/run/sendense-mounts/helper.sock';
  /** Folder that belongs to the account of the hub, which may connect. */
  @AbsolutePath() readonly hubDataDirectory: string = '/var/lib/sendense';

  @OneOf(...LOG_LEVELS) readonly logLevel: LogLevel = 'info';
  @OneOf(...LOG_FORMATS) readonly logFormat: LogFormat = 'json';
}
