import { createHash } from 'node:crypto';
import { chownSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { InvalidArgumentError } from 'commander';
import { Clock } from '../../lib/clock/clock.js';
import { HubConfig } from '../../hub/hub.config.js';
import { newToken, readToken, writeWhole } from '../../lib/config/kept-files.js';
import { loadConfig } from '../../lib/config/load-config.js';
import { isValidAt, type NamedToken, readTokenList, TOKEN_NAME, tokenListText } from '../../lib/http/token-list.js';
import { CliCommand } from '../terminal/command.js';

/** The default token, which has a file of its own. */
const DEFAULT_NAME = 'token';

interface Tokens {
  readonly config: HubConfig;
  readonly file: string;
  readonly tokens: readonly NamedToken[];
  readonly now: Date;
}

export function tokenCommand(environment: NodeJS.ProcessEnv): CliCommand {
  const command = new CliCommand('token').description("Manages the hub's API tokens. The hub applies a change within a second.");
  const opened = (options: { config?: string }): Tokens => {
    const config = loadConfig(HubConfig, { file: options.config, environment });
    const now = new Clock().now();
    return { config, file: config.apiTokenListFile, tokens: readTokenList(config.apiTokenListFile).filter((one) => isValidAt(one, now)), now };
  };
  const subcommand = (name: string, description: string): CliCommand => {
    const made = new CliCommand(name).description(description).option('--config <file>', 'the settings of the hub');
    command.addCommand(made);
    return made;
  };
  subcommand('add', 'create a token and print it once; its actions are recorded as api:NAME')
    .argument('<name>', 'its name', tokenName)
    .does((name: string, options: object) => add(opened(options), name));
  subcommand('remove', 'revoke a token')
    .argument('<name>', 'its name', tokenName)
    .does((name: string, options: object) => remove(opened(options), name));
  subcommand('list', "list the tokens' names and expiry times").does((options: object) => {
    for (const one of opened(options).tokens) process.stdout.write(`${one.name}${one.until === null ? '' : ` until ${one.until}`}\n`);
  });
  subcommand('rotate', 'create a new default token')
    .option('--keep <minutes>', 'how long the old one stays valid', minutes, 0)
    .does((options: { config?: string; keep: number }) => rotate(opened(options), options.keep));
  return command;
}

function tokenName(name: string): string {
  if (TOKEN_NAME.test(name) && name !== DEFAULT_NAME) return name;
  throw new InvalidArgumentError('A name has 1 to 63 lower-case letters, digits, dots, dashes and underscores, and is not "token".');
}

function minutes(text: string): number {
  if (!/^\d{1,6}$/.test(text)) throw new InvalidArgumentError('It must be a number of minutes.');
  return Number(text);
}

function add({ file, tokens }: Tokens, name: string): void {
  if (tokens.some((one) => one.name === name)) throw new Error(`the token ${name} already exists; remove it first`);
  const token = newToken();
  writeOwned(file, tokenListText([...tokens, { name, sha256: digestOf(token), until: null }]));
  process.stdout.write(`${token}\n`);
}

function remove({ file, tokens }: Tokens, name: string): void {
  if (!tokens.some((one) => one.name === name)) throw new Error(`there is no token ${name}`);
  writeOwned(file, tokenListText(tokens.filter((one) => one.name !== name)));
}

/** The old token is listed before the new one replaces it, so that a crash in between leaves the old one valid. */
function rotate({ config, file, tokens, now }: Tokens, keepMinutes: number): void {
  if (config.apiToken !== null) throw new Error('the token is set by api_token; change it there, or remove the setting to keep the token in a file');
  const earlier = readToken(config.apiTokenFile);
  const until = new Date(now.getTime() + keepMinutes * 60_000);
  if (earlier !== null && keepMinutes > 0) {
    writeOwned(file, tokenListText([...tokens, { name: DEFAULT_NAME, sha256: digestOf(earlier), until: until.toISOString() }]));
  }
  writeOwned(config.apiTokenFile, `${newToken()}\n`);
  process.stdout.write(
    `${config.apiTokenFile} holds a new token; the old one is ${keepMinutes > 0 ? `valid until ${until.toISOString()}` : 'no longer valid'}\n`,
  );
}

/** The hub's account owns the data directory and must be able to read files that root wrote. */
function writeOwned(file: string, text: string): void {
  writeWhole(file, text);
  const { uid, gid } = statSync(dirname(file));
  if (process.getuid?.() === 0 && uid !== 0) chownSync(file, uid, gid);
}

function digestOf(token: string): string {
  return createHash('sha256').update(token).digest('hex');
}
