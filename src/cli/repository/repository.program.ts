import { basename, resolve } from 'node:path';
import { InvalidArgumentError, Option } from 'commander';
import type { RepositoryCapacity, RepositoryImport, RepositoryTest } from '../api/answers.js';
import { hubOf, type HubOptions, withHubOptions } from '../api/hub-options.js';
import { hubCommand, idOf, listCommand, printRecord, readingCommand, REPOSITORIES, type ResourceOptions, showCommand } from '../api/resource.command.js';
import { CliCommand } from '../terminal/command.js';
import { signaturesText, trustedKey } from '../terminal/signatures.js';
import { verifierText } from '../../lib/ledger/signed-note.js';

interface PlaceOptions extends ResourceOptions {
  readonly site: string;
  readonly medium: string;
  readonly offSite?: true;
}

interface ImportOptions extends HubOptions {
  readonly name?: string;
  readonly key: readonly string[];
  readonly json?: true;
}

const IMPORT_MS = 600_000;

/** Where a repository is, as the API states it. */
interface LocationOptions extends HubOptions {
  readonly type: string;
  readonly path?: string;
  readonly requireMount?: true;
  readonly server?: string;
  readonly export?: string;
  readonly share?: string;
  readonly option?: readonly string[];
  readonly credentials?: string;
  readonly json?: true;
}

/** The hub tries several versions of a protocol, each for up to half a minute. */
const TEST_MS = 180_000;

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
    .description("Shows, creates, tests and moves the hub's repositories, sets how long restore points are locked there, and imports existing ones.")
    .addCommand(listCommand(REPOSITORIES, environment))
    .addCommand(showCommand(REPOSITORIES, environment))
    .addCommand(createCommand(environment))
    .addCommand(testCommand(environment))
    .addCommand(moveCommand(environment))
    .addCommand(capacityCommand(environment))
    .addCommand(placeCommand(environment))
    .addCommand(immutabilityCommand(environment))
    .addCommand(withHubOptions(imports));
}

function placeCommand(environment: NodeJS.ProcessEnv): CliCommand {
  return hubCommand('place', 'state where a repository is, for the report three-two-one')
    .argument('<repository>', 'its name or id')
    .requiredOption('--site <name>', 'the building, or whatever may be lost as a whole')
    .addOption(
      new Option('--medium <medium>', 'what it is stored on')
        .choices(['local_disk', 'network_share', 'removable_disk', 'object_storage', 'tape'])
        .makeOptionMandatory(),
    )
    .option('--off-site', 'it survives the loss of the site where the VMs run')
    .does(async (nameOrId: string, { site, medium, offSite, ...options }: PlaceOptions) => {
      const hub = await hubOf(options, environment);
      const place = { site, medium, off_site: offSite === true };
      await hub.call('PUT', `/repositories/${await idOf(hub, REPOSITORIES, nameOrId)}/place`, place);
      process.stdout.write(`Repository ${nameOrId} is at ${site}, ${medium}${offSite === true ? ', off-site' : ''}.\n`);
      return 0;
    });
}

function locatedCommand(name: string, description: string): CliCommand {
  return hubCommand(name, description)
    .option('--type <type>', 'local, nfs or cifs', 'local')
    .option('--path <path>', 'local: absolute path of a folder on the machine of the hub')
    .option('--require-mount', 'local: the path must be a mount point whenever the repository is used')
    .option('--server <host>', 'nfs, cifs: name or address of the server')
    .option('--export <path>', 'nfs: path at the server')
    .option('--share <name>', 'cifs: name of the share')
    .option('--option <option>', 'nfs, cifs: mount option; may be repeated', (option: string, earlier: readonly string[] | undefined) => [
      ...(earlier ?? []),
      option,
    ])
    .option('--credentials <name>', 'cifs: name of the file with the account, in the credentials folder of the mount helper');
}

function locationOf({ type, path, requireMount, server, export: exported, share, option, credentials }: LocationOptions): object {
  return { type, path, require_mount: requireMount, server, export: exported, share, options: option, credentials };
}

function createCommand(environment: NodeJS.ProcessEnv): CliCommand {
  return locatedCommand('create', 'make a folder or share a repository')
    .argument('<name>', "the repository's name at this hub")
    .does(async (name: string, options: LocationOptions) => {
      const hub = await hubOf(options, environment);
      printRecord(await hub.call<object>('POST', '/repositories', { name, ...locationOf(options) }, TEST_MS), options);
    });
}

function moveCommand(environment: NodeJS.ProcessEnv): CliCommand {
  return locatedCommand('move', 'use a repository at another place, which holds it already')
    .argument('<repository>', 'its name or id')
    .does(async (nameOrId: string, options: LocationOptions) => {
      const hub = await hubOf(options, environment);
      const id = await idOf(hub, REPOSITORIES, nameOrId);
      printRecord(await hub.call<object>('POST', `/repositories/${id}/move`, locationOf(options), TEST_MS), options);
    });
}

function testCommand(environment: NodeJS.ProcessEnv): CliCommand {
  return locatedCommand('test', 'test whether a folder or share can become a repository; leaves nothing behind')
    .addHelpText('after', '\nExit codes: 0 it can, 1 it cannot, 2 wrong usage')
    .does(async (options: LocationOptions) => {
      const hub = await hubOf(options, environment);
      const answer = await hub.call<RepositoryTest>('POST', '/repositories/test', locationOf(options), TEST_MS);
      const lines = answer.checks.map(({ name, ok, detail }) => `${ok ? 'ok    ' : 'FAILED'} ${name}: ${detail}\n`);
      process.stdout.write(options.json === true ? `${JSON.stringify(answer)}\n` : lines.join(''));
      if (options.json !== true && answer.capabilities !== null) printRecord(answer.capabilities, options);
      return answer.ok ? 0 : 1;
    });
}

function capacityCommand(environment: NodeJS.ProcessEnv): CliCommand {
  return readingCommand('capacity', 'show the space of a repository, and when it will be full')
    .argument('<repository>', 'its name or id')
    .option('--since <time>', 'count measurements from then on; default: 30 days')
    .does(async (nameOrId: string, options: ResourceOptions & { readonly since?: string }) => {
      const hub = await hubOf(options, environment);
      const query = options.since === undefined ? '' : `?since=${encodeURIComponent(options.since)}`;
      const answer = await hub.call<RepositoryCapacity>('GET', `/repositories/${await idOf(hub, REPOSITORIES, nameOrId)}/capacity${query}`);
      const { capacity, thresholds, forecast, measurements } = answer;
      const shown = {
        ...(capacity ?? { measured_at: null }),
        warning_percent: thresholds.warning_percent,
        critical_percent: thresholds.critical_percent,
        growth_per_day_bytes: forecast.growth_bytes_per_day,
        full_on: forecast.full_on ?? forecast.reason,
        measurements: measurements.length,
      };
      printRecord(options.json === true ? answer : shown, options);
    });
}

const MODES = ['none', 'advisory', 'enforced'] as const;

function immutabilityCommand(environment: NodeJS.ProcessEnv): CliCommand {
  return hubCommand('immutability', 'set how long restore points are locked from their sealing on; what is enforced can only be made longer')
    .argument('<repository>', 'its name or id')
    .addOption(new Option('--mode <mode>', 'who keeps them: nobody, the hub, or its keeper too').choices(MODES).makeOptionMandatory())
    .option('--days <number>', 'for how long', wholeDays, 0)
    .does(async (nameOrId: string, options: ResourceOptions & { readonly mode: string; readonly days: number }) => {
      const hub = await hubOf(options, environment);
      const { mode, days } = options;
      const path = `/repositories/${await idOf(hub, REPOSITORIES, nameOrId)}`;
      await hub.call('PUT', `${path}/immutability`, { mode, days });
      if (options.json === true) {
        printRecord(await hub.call<Record<string, unknown>>('GET', path), options);
        return;
      }
      const who = mode === 'enforced' ? 'the hub and its keeper' : 'the hub';
      const until = mode === 'none' ? 'are not locked' : `are locked by ${who} for ${days} days`;
      process.stdout.write(`Restore points that are sealed from now on ${until}.\n`);
    });
}

function wholeDays(text: string): number {
  const days = Number(text);
  if (!Number.isInteger(days) || days < 0) throw new InvalidArgumentError('It must be a whole number of days.');
  return days;
}

function report({ name, imported, already_known, skipped, signatures }: RepositoryImport): string {
  const lines = skipped.map(({ folder, reason }) => `SKIPPED ${folder}: ${reason}\n`);
  return `Repository "${name}": ${imported.length} restore point(s) imported, ${already_known} already known. ${signaturesText(signatures)}\n${lines.join('')}`;
}
