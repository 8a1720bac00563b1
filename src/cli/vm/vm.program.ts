import { Option } from 'commander';
import { NODE_SOURCES } from '../../contract/words.js';
import type { Vm, VmPruning } from '../api/answers.js';
import { hubOf } from '../api/hub-options.js';
import { hubCommand, idOf, listCommand, NODES, printRecord, type ResourceOptions, showCommand, VMS } from '../api/resource.command.js';
import { bytesText } from '../../kernel/bytes-text.js';
import { CliCommand } from '../terminal/command.js';

/** For the hub to ask the node for the disks. */
const REGISTER_MS = 120_000;

interface RegisterOptions extends ResourceOptions {
  readonly source: string;
  readonly ref: string;
  readonly node?: string;
}

export function vmCommand(environment: NodeJS.ProcessEnv): CliCommand {
  const register = hubCommand('register', 'register a VM, so that it can be backed up')
    .argument('<name>', 'a new name')
    .requiredOption('--ref <reference>', 'for an image the folder with the disk files, for libvirt the uuid of the domain')
    .addOption(new Option('--source <source>', 'what runs it').choices(NODE_SOURCES).default('image'))
    .option('--node <node>', 'name or id of the node that has it; may be omitted while there is only one')
    .does(async (name: string, { source, ref, node, ...options }: RegisterOptions) => {
      const hub = await hubOf(options, environment);
      const onNode = node === undefined ? {} : { node_id: await idOf(hub, NODES, node) };
      printRecord(await hub.call<Vm>('POST', '/vms', { name, source, source_ref: ref, ...onNode }, REGISTER_MS), options);
    });
  const label = hubCommand('label', 'replace the labels of a VM, by which policies select it')
    .argument('<vm>', 'its name or id')
    .argument('[labels...]', 'words or key=value; none removes all')
    .does(async (vm: string, labels: readonly string[], options: ResourceOptions) => {
      const hub = await hubOf(options, environment);
      await hub.call('PUT', `/vms/${await idOf(hub, VMS, vm)}/labels`, { labels });
    });
  const remove = hubCommand('remove', 'remove a VM that has no backups; its disks are not touched')
    .argument('<vm>', 'its name or id')
    .does(async (vm: string, options: ResourceOptions) => {
      const hub = await hubOf(options, environment);
      await hub.call('DELETE', `/vms/${await idOf(hub, VMS, vm)}`);
    });
  const prune = hubCommand('prune', 'remove restore points of a VM, also from the middle of a chain; the others keep their content')
    .argument('<vm>', 'its name or id')
    .argument('<backups...>', 'ids of the backups to remove')
    .option('--dry-run', 'only show the plan')
    .does(async (vm: string, remove: readonly string[], { dryRun, ...options }: ResourceOptions & { readonly dryRun?: true }) => {
      const hub = await hubOf(options, environment);
      const answer = await hub.call<VmPruning>('POST', `/vms/${await idOf(hub, VMS, vm)}/prune`, { remove, dry_run: dryRun === true });
      if (options.json === true) printRecord(answer, options);
      else process.stdout.write(pruningText(answer));
    });
  return new CliCommand('vm')
    .description('Shows, registers, labels and removes the VMs that the hub protects, and prunes their chains.')
    .addCommand(listCommand(VMS, environment))
    .addCommand(showCommand(VMS, environment))
    .addCommand(register)
    .addCommand(label)
    .addCommand(prune)
    .addCommand(remove);
}

function pruningText({ dry_run, chains }: VmPruning): string {
  const lines = chains.flatMap(({ steps, left, read_bytes, write_bytes, needed_bytes, free_bytes }) => [
    ...steps.map(({ kind, backup_id, parent_backup_id, merged }) => {
      if (kind === 'drop') return `remove   ${backup_id}`;
      if (kind === 'flatten') return `flatten  ${backup_id}: it becomes a full`;
      return `absorb   ${backup_id}: it takes in ${merged.join(', ')} and is based on ${parent_backup_id ?? ''}`;
    }),
    ...left.map(({ backup_id, needed_by }) => `keep     ${backup_id}: ${needed_by} is damaged and depends on it`),
    `Reads ${bytesText(read_bytes)}, writes at most ${bytesText(write_bytes)}, needs at most ${bytesText(needed_bytes)} free, frees ${bytesText(free_bytes)}.`,
  ]);
  const ending = dry_run ? 'Nothing was changed.' : chains.length === 0 ? 'Nothing is left to remove.' : 'The hub is removing them; see GET /backups/chain.';
  return `${[...lines, ending].join('\n')}\n`;
}
