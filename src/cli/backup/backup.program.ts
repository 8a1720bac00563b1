import { Option } from 'commander';
import { type Backup, type BackupWithCopies, endingOf, hasEnded, type Repository, type Verification } from '../api/answers.js';
import type { HubApi } from '../api/hub-api.client.js';
import { hubOf } from '../api/hub-options.js';
import { BACKUPS, hubCommand, idOf, listCommand, printRecord, REPOSITORIES, type ResourceOptions, showCommand, VMS } from '../api/resource.command.js';
import { NODE_QUIESCE } from '../../contract/words.js';
import { CliCommand } from '../terminal/command.js';

/** A start is answered once the exports of all disks are ready. */
const START_MS = 120_000;
/** The files of a restore point may take a while to be removed. */
const DELETE_MS = 60_000;

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
    .description('Starts, shows, cancels, deletes, pins, holds, verifies and heals backups.')
    .addCommand(start)
    .addCommand(listCommand(BACKUPS, environment))
    .addCommand(showCommand(BACKUPS, environment))
    .addCommand(
      one('cancel', 'stop a backup and undo it', async (hub, id, options) => {
        report(await hub.call<Backup>('POST', `/backups/${id}/cancel`), 'Its files are being removed.', options);
        return 0;
      }),
    )
    .addCommand(
      one('delete', 'delete the newest restore point of a chain, and its files', async (hub, id) => {
        await hub.call('DELETE', `/backups/${id}`, undefined, DELETE_MS);
        process.stdout.write(`Backup ${id} is deleted.\n`);
        return 0;
      }),
    )
    .addCommand(protection('pin', 'keep a restore point from expiry and deletion; takes back its expiry', 'It is pinned.'))
    .addCommand(protection('unpin', 'leave a restore point to the retention of its policy again', 'It is not pinned.'))
    .addCommand(protection('hold', 'as pin, and independent of it: for a legal dispute, say', 'It is held.'))
    .addCommand(protection('release', 'end the hold of a restore point', 'It is not held.'))
    .addCommand(verifying('verify', 'read a restore point and everything it depends on, and report what is damaged', environment))
    .addCommand(verifying('heal', 'write damaged files of a restore point again from other repositories that hold them', environment))
    .addCommand(one('watch', 'wait for the end of a backup, and report the progress', follow));
}

interface VerifyOptions extends ResourceOptions {
  readonly repository?: string;
  readonly everywhere?: true;
  readonly boot?: true;
}

/** Waits for the verdicts. The command fails if one of them is not `passed`. */
function verifying(name: 'verify' | 'heal', description: string, environment: NodeJS.ProcessEnv): CliCommand {
  const command = hubCommand(name, description)
    .argument('<backup>', 'its id')
    .option('--repository <repository>', 'name or id of the repository that is read; the one that was backed up to by default')
    .option('--everywhere', 'in every repository that holds it, one after the other')
    .does(async (backup: string, { repository, everywhere, boot, ...options }: VerifyOptions) => {
      const hub = await hubOf(options, environment);
      const id = await idOf(hub, BACKUPS, backup);
      const places = everywhere === true ? await placesOf(hub, id) : [repository === undefined ? null : await idOf(hub, REPOSITORIES, repository)];
      let code = 0;
      for (const place of places) {
        const request = { ...(place === null ? {} : { repository_id: place }), ...(boot === true ? { boot } : {}) };
        const { verification_id } = await hub.call<Verification>('POST', `/backups/${id}/${name}`, request, START_MS);
        const of = ({ verifications }: { verifications: Verification[] }): Verification | undefined =>
          verifications.find((each) => each.verification_id === verification_id);
        const path = `/backups/${id}/verifications`;
        const ended = of(
          await hub.until<{ verifications: Verification[] }>(path, (page) => typeof of(page)?.completed_at === 'string', { patienceMs: Infinity }),
        );
        if (ended === undefined) throw new Error(`verification ${verification_id} is not among the newest of backup ${id}`);
        if (options.json === true) printRecord(ended, options);
        else process.stdout.write(verdictOf(ended));
        if (ended.status !== 'passed') code = 1;
      }
      return code;
    });
  return name === 'verify' ? command.option('--boot', 'and boot it, if its files are sound') : command;
}

async function placesOf(hub: HubApi, id: string): Promise<readonly string[]> {
  const backup = await hub.call<BackupWithCopies>('GET', `/backups/${id}`);
  const copies = backup.copies.filter(({ status }) => status === 'completed').map(({ repository_id }) => repository_id);
  return [...(backup.status === 'completed' ? [backup.repository_id] : []), ...copies];
}

function verdictOf({ verification_id, repository_id, status, findings, healed, unhealed, error, files_checked, boot }: Verification): string {
  return [
    `Verification ${verification_id} in repository ${repository_id}: ${status}${files_checked === null ? '' : `, ${files_checked} files read`}.`,
    ...healed.map(({ file, healed_bytes, from_repository_ids }) => `  healed: ${file}, ${healed_bytes} bytes from ${from_repository_ids.join(', ')}`),
    ...findings.map(({ code, detail }) => `  ${code}: ${detail}`),
    ...unhealed.map(({ backup_id, code, detail }) => `  ${backup_id} is not healed: ${code}: ${detail}`),
    ...(error === null ? [] : [`  ${error.code}: ${error.detail}`]),
    ...(boot === null ? [] : [`  boot check: ${boot.status}${boot.detail === null ? '' : `: ${boot.detail}`}`]),
    '',
  ].join('\n');
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
