import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { InvalidArgumentError } from 'commander';
import { HubConfig } from '../../hub/hub.config.js';
import { messageOf } from '../../kernel/error-message.js';
import { loadConfig } from '../../lib/config/load-config.js';
import { withEnvironmentFile } from '../config/environment-file.js';
import type { CliCommand } from '../terminal/command.js';
import { HubApi } from './hub-api.client.js';

/** Which hub a command talks to, and how it finds it. */
export interface HubOptions {
  /** Without a trailing slash. */
  readonly hub?: string;
  readonly tokenFile?: string;
  readonly config?: string;
  /** For commands that only read: time or position; default: now. */
  readonly asOf?: string;
}

export function withHubOptions(command: CliCommand): CliCommand {
  return command
    .option('--hub <url>', 'the hub; default: the hub of this machine, found through its data directory', hubUrl)
    .option('--token-file <file>', "file with an API token; default: api.token in the hub's data directory")
    .option('--config <file>', 'settings of the hub of this machine');
}

export function hubUrl(text: string): string {
  if (!/^https?:$/.test(URL.parse(text)?.protocol ?? '')) throw new InvalidArgumentError('It must be a URL, for example http://127.0.0.1:9080.');
  return text.replace(/\/+$/, '');
}

/** @throws ConfigError; Error when this machine has no hub and none is named */
export async function hubOf(options: HubOptions, environment: NodeJS.ProcessEnv): Promise<HubApi> {
  const config = loadConfig(HubConfig, { file: options.config, environment: withEnvironmentFile(options.config, environment) });
  const read = async (file: string): Promise<string> => (await readFile(file, 'utf8')).trim();
  try {
    const url = options.hub ?? (await read(join(config.dataDirectory, 'hub.url')));
    const token = options.tokenFile === undefined && config.apiToken !== null ? config.apiToken : await read(options.tokenFile ?? config.apiTokenFile);
    return new HubApi(url, token, options.asOf === undefined ? null : { asOf: options.asOf, onAnswer: showInstant });
  } catch (error) {
    throw new Error(
      `there is no hub in ${config.dataDirectory} (${messageOf(error)}); run this as root on the hub's machine, or give --hub URL and --token-file FILE`,
      { cause: error },
    );
  }
}

/** On standard error, so that standard output remains what a program reads. */
function showInstant({ time, position }: { readonly time: string; readonly position: string | null }): void {
  process.stderr.write(`as of ${time}${position === null ? ', before the first event' : ` (position ${position})`}\n`);
}
