import { InvalidArgumentError } from 'commander';
import type { Copy } from '../api/answers.js';
import type { HubApi } from '../api/hub-api.client.js';
import { hubOf } from '../api/hub-options.js';
import { BACKUPS, COPIES, hubCommand, idOf, listCommand, printRecord, REPOSITORIES, type ResourceOptions, showCommand } from '../api/resource.command.js';
import { CliCommand } from '../terminal/command.js';

/** The files of a deleted copy may take a while to be removed. */
const DELETE_MS = 60_000;

interface StartOptions extends ResourceOptions {
  readonly to: string;
  readonly withParents?: true;
  readonly limit?: number;
  readonly watch?: true;
}

export function copyCommand(environment: NodeJS.ProcessEnv): CliCommand {
  const start = hubCommand('start', 'copy a restore point into another repository')
    .argument('<backup>', 'its id')
    .requiredOption('--to <repository>', 'name or id of the repository that receives the copy')
    .option('--with-parents', 'copy what it depends on first; otherwise it is flattened into a full, unless its parent has a copy there')
    .option('--limit <bytes>', 'bytes per second at most', bytesPerSecond)
    .option('--watch', 'wait for its end, and report the progress')
    .does(async (backup: string, { to, withParents, limit, watch, ...options }: StartOptions) => {
      const hub = await hubOf(options, environment);
      const request = {
        repository_id: await idOf(hub, REPOSITORIES, to),
        with_parents: withParents === true,
        ...(limit === undefined ? {} : { bandwidth_limit_bps: limit }),
      };
      const copy = await hub.call<Copy>('POST', `/backups/${await idOf(hub, BACKUPS, backup)}/copy`, request);
      if (watch === true) return follow(hub, copy.copy_id, options);
      report(copy, `To follow it: sendense copy watch ${copy.copy_id}`, options);
      return 0;
    });
  const one = (name: string, description: string, work: (hub: HubApi, id: string, options: ResourceOptions) => Promise<number>): CliCommand =>
    hubCommand(name, description)
      .argument('<copy>', 'its id')
      .does(async (id: string, options: ResourceOptions) => {
        const hub = await hubOf(options, environment);
        return work(hub, await idOf(hub, COPIES, id), options);
      });
  return new CliCommand('copy')
    .description('Copies restore points into other repositories; shows, cancels and deletes copies.')
    .addCommand(start)
    .addCommand(listCommand(COPIES, environment))
    .addCommand(showCommand(COPIES, environment))
    .addCommand(
      one('cancel', 'stop a copy and remove what it has written', async (hub, id, options) => {
        report(await hub.call<Copy>('POST', `/copies/${id}/cancel`), 'Its files are being removed.', options);
        return 0;
      }),
    )
    .addCommand(
      one('delete', 'delete a copy and its files; the restore point that it was copied from stays', async (hub, id) => {
        await hub.call('DELETE', `/copies/${id}`, undefined, DELETE_MS);
        process.stdout.write(`Copy ${id} is deleted.\n`);
        return 0;
      }),
    )
    .addCommand(one('watch', 'wait for the end of a copy, and report the progress', follow));
}

/** Reports progress and interruptions on standard error. @returns the exit code: 1 when the copy has not completed */
async function follow(hub: HubApi, id: string, options: ResourceOptions): Promise<number> {
  let reported = '';
  const ended = await hub.until<Copy>(
    `/copies/${id}`,
    (copy) => {
      const now = progressOf(copy);
      if (now !== reported) process.stderr.write(`${now}\n`);
      reported = now;
      return copy.ended_at !== null;
    },
    { patienceMs: Infinity },
  );
  report(ended, ended.error === null ? '' : `${ended.error.code}: ${ended.error.detail}`, options);
  return ended.status === 'completed' ? 0 : 1;
}

function progressOf({ status, progress_bytes, total_bytes, interruption }: Copy): string {
  if (interruption !== null) return `interrupted since ${interruption.since}: ${interruption.detail}`;
  if (status !== 'running' || progress_bytes === null || total_bytes === null || total_bytes === 0) return status;
  // Everything is read back once.
  return `running, ${((progress_bytes / (2 * total_bytes)) * 100).toFixed(0)} %`;
}

function report(copy: Copy, more: string, options: ResourceOptions): void {
  if (options.json === true) printRecord(copy, options);
  else process.stdout.write(`${`Copy ${copy.copy_id} is ${copy.status}. ${more}`.trim()}\n`);
}

function bytesPerSecond(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new InvalidArgumentError('must be a whole number of bytes per second');
  return Number(text);
}
