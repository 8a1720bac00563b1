import { basename, resolve } from 'node:path';
import type { RepositoryImport } from '../api/answers.js';
import { hubOf, type HubOptions, withHubOptions } from '../api/hub-options.js';
import { listCommand, REPOSITORIES, showCommand } from '../api/resource.command.js';
import { CliCommand } from '../terminal/command.js';
import { signaturesText, trustedKey } from '../terminal/signatures.js';
import { verifierText } from '../../lib/ledger/signed-note.js';

interface ImportOptions extends HubOptions {
  readonly name?: string;
  readonly key: readonly string[];
  readonly json?: true;
}

const IMPORT_MS = 600_000;

export function repositoryCommand(environment: NodeJS.ProcessEnv): CliCommand {
  const imports = new CliCommand('import')
    .description('Imports the restore points of a repository made by another hub into the running hub. The files are not changed.')
    .argument('<path>', "the repository's directory")
    .option('--name <name>', "the repository's name at this hub; default: the name of its directory")
    .option(
      '--key <key>',
      'key of the hub that wrote it (GET /ledger/key there); may be repeated. Restore points that none of the keys has signed are then skipped',
      (key: string, earlier: readonly string[]) => [...earlier, verifierText(trustedKey(key))],
      [],
    )
    .option('--json', "print the hub's answer, for programs")
    .addHelpText('after', '\nExit codes: 0 done, 1 refused, or some restore points could not be imported, 2 wrong usage')
    .does(async (path: string, options: ImportOptions) => {
      const hub = await hubOf(options, environment);
      const folder = resolve(path);
      const request = { path: folder, name: options.name ?? basename(folder), keys: options.key };
      const answer = await hub.call<RepositoryImport>('POST', '/repositories/import', request, IMPORT_MS);
      process.stdout.write(options.json === true ? `${JSON.stringify(answer)}\n` : report(answer));
      return answer.skipped.length === 0 ? 0 : 1;
    });
  return new CliCommand('repository')
    .description("Shows the hub's repositories, and imports existing ones.")
    .addCommand(listCommand(REPOSITORIES, environment))
    .addCommand(showCommand(REPOSITORIES, environment))
    .addCommand(withHubOptions(imports));
}

function report({ name, imported, already_known, skipped, signatures }: RepositoryImport): string {
  const lines = skipped.map(({ folder, reason }) => `SKIPPED ${folder}: ${reason}\n`);
  return `Repository "${name}": ${imported.length} restore point(s) imported, ${already_known} already known. ${signaturesText(signatures)}\n${lines.join('')}`;
}
