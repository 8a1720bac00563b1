import { Option } from 'commander';
import { type Backup, endingOf, hasEnded, type Repository } from '../api/answers.js';
import type { HubApi } from '../api/hub-api.client.js';
import { hubOf } from '../api/hub-options.js';
import { BACKUPS, hubCommand, idOf, listCommand, printRecord, REPOSITORIES, type ResourceOptions, showCommand, VMS } from '../api/resource.command.js';
import { NODE_QUIESCE } from '../../contract/words.js';
import { CliCommand } from '../terminal/command.js';

/** A start is answered once the exports of all disks are ready. */
const START_MS = 120_000;

interface StartOptions extends ResourceOptions {
  readonly repository?: string;
  readonly type: string;
  readonly quiesce?: string;
  readonly watch?: true;
}

export function backupCommand(environment: NodeJS.ProcessEnv): CliCommand {
  const start = hubCommand('start', 'start a backup of a VM')
    .argument('<vm>', 'its name or id')
    .option('--repository <repository>', 'name or id of the repository that keeps it; may be omitted while there is only one')
    .addOption(new Option('--type <type>', 'auto makes an incremental if possible').choices(['auto', 'full', 'incremental']).default('auto'))
    .addOption(new Option('--quiesce <how>', "whether the guest's file systems are frozen at the instant").choices(NODE_QUIESCE))
    .option('--watch', 'wait for its end, and report the progress')
    .does(async (vm: string, { repository, type, quiesce, watch, ...options }: StartOptions) => {
      const hub = await hubOf(options, environment);
      const request = {
        vm_id: await idOf(hub, VMS, vm),
        repository_id: await repositoryId(hub, repository),
        backup_type: type,
        ...(quiesce === undefined ? {} : { quiesce }),
      };
      const backup = await hub.call<Backup>('POST', '/backups', request, START_MS);
      if (watch === true) return follow(hub, backup.backup_id, options);
      report(backup, `To follow it: sendense backup watch ${backup.backup_id}`, options);
      return 0;
    });
  const one = (name: string, description: string, work: (hub: HubApi, id: string, options: ResourceOptions) => Promise<number>): CliCommand =>
    hubCommand(name, description)
      .argument('<backup>', 'its id')
      .does(async (id: string, options: ResourceOptions) => {
        const hub = await hubOf(options, environment);
        return work(hub, await idOf(hub, BACKUPS, id), options);
      });
  const protection = (name: string, description: string, outcome: string): CliCommand =>
    hubCommand(name, description)
      .argument('<backup>', 'its id')
      .requiredOption('--reason <text>', 'why, for people who look at it later')
      .does(async (id: string, { reason, ...options }: ResourceOptions & { readonly reason: string }) => {
        const hub = await hubOf(options, environment);
        report(await hub.call<Backup>('POST', `/backups/${await idOf(hub, BACKUPS, id)}/${name}`, { reason }), outcome, options);
      });
  return new CliCommand('backup')
    .description('Starts, shows, cancels, pins and holds backups.')
    .addCommand(start)
    .addCommand(listCommand(BACKUPS, environment))
    .addCommand(showCommand(BACKUPS, environment))
    .addCommand(
      one('cancel', 'stop a backup and undo it', async (hub, id, options) => {
        report(await hub.call<Backup>('POST', `/backups/${id}/cancel`), 'Its files are being removed.', options);
        return 0;
      }),
    )
    .addCommand(protection('pin', 'keep a restore point from expiry and deletion; takes back its expiry', 'It is pinned.'))
    .addCommand(protection('unpin', 'leave a restore point to the retention of its policy again', 'It is not pinned.'))
    .addCommand(protection('hold', 'as pin, and independent of it: for a legal dispute, say', 'It is held.'))
    .addCommand(protection('release', 'end the hold of a restore point', 'It is not held.'))
    .addCommand(one('watch', 'wait for the end of a backup, and report the progress', follow));
}

async function repositoryId(hub: HubApi, named: string | undefined): Promise<string> {
  if (named !== undefined) return idOf(hub, REPOSITORIES, named);
  const [only, other] = (await hub.call<{ repositories: Repository[] }>('GET', '/repositories?limit=2')).repositories;
  if (only === undefined || other !== undefined) throw new Error('name the repository with --repository; sendense repository list shows them all');
  return only.repository_id;
}

/** Reports each new phase on standard error. @returns the exit code: 1 when the backup has not completed */
async function follow(hub: HubApi, id: string, options: ResourceOptions): Promise<number> {
  let reported = '';
  const ended = await hub.until<Backup>(
    `/backups/${id}`,
    (backup) => {
      const { status, current_phase, waiting_for, progress_percent } = backup;
      const now = status === 'running' ? `${current_phase}, ${progress_percent.toFixed(0)} %` : `${status}${waiting_for === null ? '' : `: ${waiting_for}`}`;
      if (now !== reported) process.stderr.write(`${now}\n`);
      reported = now;
      return hasEnded(backup);
    },
    { patienceMs: Infinity },
  );
  report(ended, ended.error === null ? '' : endingOf(ended), options);
  return ended.status === 'completed' ? 0 : 1;
}

function report(backup: Backup, more: string, options: ResourceOptions): void {
  if (options.json === true) printRecord(backup, options);
  else process.stdout.write(`${`Backup ${backup.backup_id} is ${backup.status}. ${more}`.trim()}\n`);
}
