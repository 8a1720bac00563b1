import { Option } from 'commander';
import type { RestoreJob } from '../api/answers.js';
import type { HubApi } from '../api/hub-api.client.js';
import { hubOf } from '../api/hub-options.js';
import {
  BACKUPS,
  hubCommand,
  idOf,
  listCommand,
  NODES,
  printRecord,
  REPOSITORIES,
  RESTORE_JOBS,
  type ResourceOptions,
  showCommand,
} from '../api/resource.command.js';
import { CliCommand } from '../terminal/command.js';
import { wholeNumber } from '../terminal/option-values.js';

/** The node's libvirt is asked first. */
const START_MS = 120_000;
const FORMATS = ['raw', 'qcow2', 'vmdk'] as const;
const NETWORKS = ['keep', 'disconnected', 'none'] as const;

interface SourceOptions extends ResourceOptions {
  readonly repository?: string;
  readonly allowDamaged?: true;
  readonly watch?: true;
}

interface DisksOptions extends SourceOptions {
  readonly target: string;
  readonly disk: readonly number[];
  readonly format: (typeof FORMATS)[number];
  readonly overwrite?: true;
}

interface VmOptions extends SourceOptions {
  readonly name: string;
  readonly storage?: string;
  readonly instant?: true;
  readonly node?: string;
  readonly start?: true;
  readonly keepIdentity?: true;
  readonly acceptChanges?: true;
  readonly network: (typeof NETWORKS)[number];
  readonly libvirtNetwork?: string;
  readonly preview?: true;
}

export function recoverCommand(environment: NodeJS.ProcessEnv): CliCommand {
  const disks = ofRestorePoint('disks', "write disks into a directory on the hub's machine; compared with the restore point before they get their names")
    .requiredOption('--target <directory>', "an existing directory on the hub's machine; absolute")
    .option('--disk <number>', 'only this disk, from 0; may be repeated', (text, earlier: readonly number[]) => [...earlier, wholeNumber(text)], [])
    .addOption(new Option('--format <format>', 'of the files').choices(FORMATS).default('qcow2'))
    .option('--overwrite', 'replace existing files of the same names')
    .does(async (backup: string, { target, disk, format, overwrite, watch, ...options }: DisksOptions) => {
      const hub = await hubOf(options, environment);
      const request = {
        ...(await sourceOf(hub, backup, options)),
        ...{ target_path: target, format, overwrite: overwrite === true },
        ...(disk.length === 0 ? {} : { disks: disk }),
      };
      return begun(hub, await hub.call<RestoreJob>('POST', '/restore/disks', request, START_MS), watch, options);
    });
  const vm = ofRestorePoint('vm', 'create the VM again as a new libvirt domain on a node')
    .requiredOption('--name <name>', 'of the new domain')
    .option('--storage <directory>', "directory on the node for the disks, below one of the node's vm_storage_roots")
    .option('--instant', 'copy nothing: the VM runs on exports of the hub, and what it writes is discarded when it is removed')
    .option('--node <node>', 'name or id of the node that gets it; default: the one it was backed up from')
    .option('--start', 'start it at the end')
    .option('--keep-identity', 'keep the uuid and MAC addresses, when the old VM is gone')
    .option('--accept-changes', 'the changes shown by --preview were reviewed')
    .addOption(new Option('--network <how>', 'its network interfaces; disconnected: with their links down').choices(NETWORKS).default('keep'))
    .option('--libvirt-network <network>', 'attach every interface to this network of libvirt')
    .option('--preview', 'show what would be changed in the definition, and create nothing')
    .does(async (backup: string, { watch, preview, ...options }: VmOptions) => {
      const hub = await hubOf(options, environment);
      const request = {
        ...(await sourceOf(hub, backup, options)),
        ...{ name: options.name, network: options.network, start: options.start === true, instant: options.instant === true },
        ...{ keep_identity: options.keepIdentity === true, accept_changes: options.acceptChanges === true },
        ...(options.storage === undefined ? {} : { storage_path: options.storage }),
        ...(options.node === undefined ? {} : { node_id: await idOf(hub, NODES, options.node) }),
        ...(options.libvirtNetwork === undefined ? {} : { libvirt_network: options.libvirtNetwork }),
      };
      if (preview !== true) return begun(hub, await hub.call<RestoreJob>('POST', '/restore/vms', request, START_MS), watch, options);
      printRecord(await hub.call<object>('POST', '/restore/vms/preview', request, START_MS), options);
      return 0;
    });
  const one = (name: string, description: string, work: (hub: HubApi, id: string, options: ResourceOptions) => Promise<number>): CliCommand =>
    hubCommand(name, description)
      .argument('<job>', 'its id')
      .does(async (id: string, options: ResourceOptions) => {
        const hub = await hubOf(options, environment);
        return work(hub, await idOf(hub, RESTORE_JOBS, id), options);
      });
  return new CliCommand('recover')
    .description('Restores disks and VMs with a running hub; shows and cancels such restores.')
    .addCommand(disks)
    .addCommand(vm)
    .addCommand(listCommand(RESTORE_JOBS, environment))
    .addCommand(showCommand(RESTORE_JOBS, environment))
    .addCommand(one('watch', 'wait for the end of a restore, and report the progress', follow))
    .addCommand(
      one('cancel', 'stop a restore and remove what it has written', async (hub, id, options) => {
        report(await hub.call<RestoreJob>('POST', `/restore/jobs/${id}/cancel`), 'Its files are being removed.', options);
        return 0;
      }),
    )
    .addCommand(
      one('remove', 'remove an instant VM and what it has written', async (hub, id) => {
        await hub.call('DELETE', `/restore/vms/${id}`, undefined, START_MS);
        process.stdout.write(`The VM of restore ${id} is removed.\n`);
        return 0;
      }),
    );
}

function ofRestorePoint(name: string, description: string): CliCommand {
  return hubCommand(name, description)
    .argument('<backup>', 'id of the restore point')
    .option('--repository <repository>', 'name or id of the repository to read; default: the first, or a copy if that cannot be used')
    .option('--allow-damaged', 'restore it even if it is known to be damaged, as far as it can be read')
    .option('--watch', 'wait for its end, and report the progress');
}

async function sourceOf(hub: HubApi, backup: string, { repository, allowDamaged }: SourceOptions): Promise<object> {
  return {
    backup_id: await idOf(hub, BACKUPS, backup),
    allow_damaged: allowDamaged === true,
    ...(repository === undefined ? {} : { repository_id: await idOf(hub, REPOSITORIES, repository) }),
  };
}

async function begun(hub: HubApi, job: RestoreJob, watch: true | undefined, options: ResourceOptions): Promise<number> {
  if (watch === true) return follow(hub, job.job_id, options);
  report(job, `To follow it: sendense recover watch ${job.job_id}`, options);
  return 0;
}

/** Reports progress on standard error. @returns the exit code: 1 when the restore has not completed */
async function follow(hub: HubApi, id: string, options: ResourceOptions): Promise<number> {
  let reported = '';
  const ended = await hub.until<RestoreJob>(
    `/restore/jobs/${id}`,
    ({ status, progress_percent }) => {
      const now = status === 'running' ? `running, ${progress_percent.toFixed(0)} %` : status;
      if (now !== reported) process.stderr.write(`${now}\n`);
      reported = now;
      return status !== 'running';
    },
    { patienceMs: Infinity },
  );
  report(ended, endingOf(ended), options);
  return ended.status === 'completed' ? 0 : 1;
}

function endingOf({ error, files, vm }: RestoreJob): string {
  if (error !== null) return `${error.code}: ${error.detail}`;
  const problem = vm?.start_error ?? null;
  const started = problem === null ? [] : [`It could not be started: ${problem.detail}`];
  return [...files, ...started].map((line) => `\n${line}`).join('');
}

function report(job: RestoreJob, more: string, options: ResourceOptions): void {
  if (options.json === true) printRecord(job, options);
  else process.stdout.write(`${`Restore ${job.job_id} is ${job.status}. ${more}`.trim()}\n`);
}
