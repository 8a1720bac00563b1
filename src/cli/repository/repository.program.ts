import { readFile } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { messageOf } from '../../kernel/error-message.js';
import { HubConfig } from '../../hub/hub.config.js';
import { loadConfig } from '../../lib/config/load-config.js';

const USAGE = `Usage: sendense repository import PATH [--name NAME] [--hub URL] [--token-file FILE] [--config FILE] [--json]

Imports the restore points of a repository made by another hub into the running hub. The files are not changed.

  --name NAME         the repository's name at this hub; default: the name of its directory
  --hub URL           default: the hub of this machine, found through its data directory
  --token-file FILE   default: api.token in the hub's data directory

Exit codes: 0 done, 1 refused, or some restore points could not be imported, 2 wrong usage.
`;

interface ImportAnswer {
  readonly name: string;
  readonly imported: readonly string[];
  readonly already_known: number;
  readonly skipped: readonly { readonly folder: string; readonly reason: string }[];
}

/** @returns the exit code */
export async function runRepositoryProgram(argv: readonly string[], environment: NodeJS.ProcessEnv): Promise<number> {
  let parsed;
  try {
    parsed = parseArgs({
      args: [...argv],
      allowPositionals: true,
      options: {
        name: { type: 'string' },
        hub: { type: 'string' },
        'token-file': { type: 'string' },
        config: { type: 'string' },
        json: { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
      },
    });
  } catch (error) {
    return refuse(messageOf(error));
  }
  const { values, positionals } = parsed;
  if (values.help === true) {
    process.stdout.write(USAGE);
    return 0;
  }
  const [command, path, ...extra] = positionals;
  if (command !== 'import' || path === undefined || extra.length > 0) return refuse('the only command is: import PATH');
  try {
    const config = loadConfig(HubConfig, { file: values.config, environment });
    const url = values.hub ?? (await readFile(join(config.dataDirectory, 'hub.url'), 'utf8')).trim();
    const token = config.apiToken ?? (await readFile(values['token-file'] ?? config.apiTokenFile, 'utf8')).trim();
    const folder = resolve(path);
    const response = await fetch(`${url}/api/v1/repositories/import`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body: JSON.stringify({ path: folder, name: values.name ?? basename(folder) }),
    });
    const text = await response.text();
    if (values.json === true) process.stdout.write(`${text}\n`);
    if (!response.ok) {
      process.stderr.write(`sendense repository: the hub refused: ${detailOf(text)}\n`);
      return 1;
    }
    // The hub's own response, in the shape of its API document.
    const answer = JSON.parse(text) as ImportAnswer;
    if (values.json !== true) process.stdout.write(`${report(answer).join('\n')}\n`);
    return answer.skipped.length === 0 ? 0 : 1;
  } catch (error) {
    process.stderr.write(`sendense repository: ${messageOf(error)}\n`);
    return 1;
  }
}

function report(answer: ImportAnswer): readonly string[] {
  return [
    `Repository "${answer.name}": ${answer.imported.length} restore point(s) imported, ${answer.already_known} already known.`,
    ...answer.skipped.map(({ folder, reason }) => `SKIPPED ${folder}: ${reason}`),
  ];
}

function detailOf(text: string): string {
  try {
    const problem: unknown = JSON.parse(text);
    if (typeof problem === 'object' && problem !== null && 'detail' in problem && typeof problem.detail === 'string') return problem.detail;
  } catch {
    // Not a response of a hub.
  }
  return text.slice(0, 500);
}

function refuse(problem: string): number {
  process.stderr.write(`sendense repository: ${problem}\n\n${USAGE}`);
  return 2;
}
