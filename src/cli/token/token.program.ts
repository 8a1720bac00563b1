import { createHash } from 'node:crypto';
import { chownSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { parseArgs } from 'node:util';
import { messageOf } from '../../kernel/error-message.js';
import { Clock } from '../../lib/clock/clock.js';
import { HubConfig } from '../../hub/hub.config.js';
import { newToken, readToken, writeWhole } from '../../lib/config/kept-files.js';
import { loadConfig } from '../../lib/config/load-config.js';
import { isValidAt, type NamedToken, readTokenList, TOKEN_NAME, tokenListText } from '../../lib/http/token-list.js';

const USAGE = `Usage: sendense token add NAME | remove NAME | list | rotate [--keep MINUTES]   [--config FILE]

Manages the hub's API tokens. The hub applies a change within a second.
  add NAME     create a token and print it once; its actions are recorded as api:NAME
  remove NAME  revoke it
  list         list the tokens' names and expiry times
  rotate       create a new default token; the old one stays valid for MINUTES (default: 0)
`;
/** The default token, which has a file of its own. */
const DEFAULT_NAME = 'token';

/** @returns the exit code */
export function runTokenProgram(argv: readonly string[], environment: NodeJS.ProcessEnv): number {
  try {
    const { values, positionals } = parseArgs({
      args: [...argv],
      allowPositionals: true,
      options: { config: { type: 'string' }, keep: { type: 'string', default: '0' }, help: { type: 'boolean', short: 'h' } },
    });
    const [command, name, ...extra] = positionals;
    if (values.help === true || command === undefined || extra.length > 0) return usage(values.help === true ? 0 : 2);
    const config = loadConfig(HubConfig, { file: values.config, environment });
    const now = new Clock().now();
    const file = config.apiTokenListFile;
    const tokens = readTokenList(file).filter((one) => isValidAt(one, now));
    switch (command) {
      case 'add':
        add(file, tokens, nameOf(name));
        return 0;
      case 'remove':
        remove(file, tokens, nameOf(name));
        return 0;
      case 'list':
        for (const one of tokens) process.stdout.write(`${one.name}${one.until === null ? '' : ` until ${one.until}`}\n`);
        return 0;
      case 'rotate':
        rotate(config, tokens, values.keep, now);
        return 0;
      default:
        return usage(2);
    }
  } catch (error) {
    process.stderr.write(`sendense token: ${messageOf(error)}\n`);
    return 1;
  }
}

function usage(code: number): number {
  (code === 0 ? process.stdout : process.stderr).write(USAGE);
  return code;
}

function nameOf(name: string | undefined): string {
  if (name === undefined || !TOKEN_NAME.test(name) || name === DEFAULT_NAME) {
    throw new Error('a name has 1 to 63 lower-case letters, digits, dots, dashes and underscores, and is not "token"');
  }
  return name;
}

function add(file: string, tokens: readonly NamedToken[], name: string): void {
  if (tokens.some((one) => one.name === name)) throw new Error(`the token ${name} already exists; remove it first`);
  const token = newToken();
  writeOwned(file, tokenListText([...tokens, { name, sha256: digestOf(token), until: null }]));
  process.stdout.write(`${token}\n`);
}

function remove(file: string, tokens: readonly NamedToken[], name: string): void {
  if (!tokens.some((one) => one.name === name)) throw new Error(`there is no token ${name}`);
  writeOwned(file, tokenListText(tokens.filter((one) => one.name !== name)));
}

/** The old token is listed before the new one replaces it, so that a crash in between leaves the old one valid. */
function rotate(config: HubConfig, tokens: readonly NamedToken[], keep: string, now: Date): void {
  if (config.apiToken !== null) throw new Error('the token is set by api_token; change it there, or remove the setting to keep the token in a file');
  if (!/^\d{1,6}$/.test(keep)) throw new Error('--keep must be a number of minutes');
  const earlier = readToken(config.apiTokenFile);
  const until = new Date(now.getTime() + Number(keep) * 60_000);
  if (earlier !== null && Number(keep) > 0) {
    writeOwned(config.apiTokenListFile, tokenListText([...tokens, { name: DEFAULT_NAME, sha256: digestOf(earlier), until: until.toISOString() }]));
  }
  writeOwned(config.apiTokenFile, `${newToken()}\n`);
  process.stdout.write(
    `${config.apiTokenFile} holds a new token; the old one is ${Number(keep) > 0 ? `valid until ${until.toISOString()}` : 'no longer valid'}\n`,
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
