import { InvalidArgumentError } from 'commander';
import { bytesText } from '../../kernel/bytes-text.js';
import { CliCommand } from '../terminal/command.js';
import type { HubApi } from './hub-api.client.js';
import { hubOf, type HubOptions, withHubOptions } from './hub-options.js';

/** A kind of thing that the hub lists at `GET /<path>`, under the member `plural`. */
export interface Resource {
  readonly noun: string;
  readonly plural: string;
  /** Where it is not the plural. */
  readonly path?: string;
  /** The command that lists it, where that is not the noun. */
  readonly command?: string;
  /** Members shown by `list`; the first is the id. */
  readonly columns: readonly [string, ...string[]];
  /** Of some columns what `list` shows, instead of the member as it is. */
  readonly shown?: (row: Shown) => Shown;
  /** Name of an option of `list` -> the query parameter. */
  readonly filters?: Readonly<Record<string, string>>;
  /** What finds one apart from its id: a query for its name, a look through the list, or nothing. */
  readonly named: 'by query' | 'in list' | 'never';
}

type Shown = Readonly<Record<string, unknown>>;
export type ResourceOptions = HubOptions & { readonly json?: true };

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
/** Of entries on a page, as the hub limits them. */
const MOST = 1000;

export const VMS: Resource = {
  noun: 'vm',
  plural: 'vms',
  columns: ['vm_id', 'name', 'source', 'total_size_bytes', 'source_ref'],
  named: 'by query',
};
export const BACKUPS: Resource = {
  noun: 'backup',
  plural: 'backups',
  columns: ['backup_id', 'vm_name', 'backup_type', 'status', 'progress_percent', 'total_bytes', 'created_at', 'tiers', 'retention'],
  shown: (row) => ({ ...row, tiers: tiersText(row['tiers']), retention: retentionText(row) }),
  filters: { vm: 'vm_name', status: 'status' },
  named: 'never',
};
export const COPIES: Resource = {
  noun: 'copy',
  plural: 'copies',
  columns: ['copy_id', 'vm_name', 'backup_id', 'repository_id', 'status', 'form', 'total_bytes', 'requested_at'],
  filters: { status: 'status' },
  named: 'never',
};
export const MOUNTS: Resource = {
  noun: 'mount',
  plural: 'mounts',
  path: 'restore/mounts',
  columns: ['mount_id', 'vm_name', 'backup_id', 'disk_index', 'partition', 'status', 'driver', 'filesystem_type', 'expires_at'],
  filters: { status: 'status' },
  named: 'never',
};
export const RESTORE_JOBS: Resource = {
  noun: 'job',
  plural: 'jobs',
  path: 'restore/jobs',
  command: 'recover',
  columns: ['job_id', 'vm_name', 'backup_id', 'kind', 'status', 'progress_percent', 'target_path', 'created_at'],
  filters: { status: 'status' },
  named: 'never',
};
export const NODES: Resource = {
  noun: 'node',
  plural: 'nodes',
  columns: ['node_id', 'name', 'state', 'version', 'url'],
  filters: { state: 'state' },
  named: 'in list',
};
export const REPOSITORIES: Resource = {
  noun: 'repository',
  plural: 'repositories',
  columns: ['repository_id', 'name', 'type', 'path', 'capacity'],
  shown: (row) => ({ ...row, capacity: capacityText(row['capacity']) }),
  named: 'by query',
};

export const POLICIES: Resource = {
  noun: 'policy',
  plural: 'policies',
  columns: ['policy_id', 'name', 'enabled', 'schedule', 'time_zone', 'version'],
  named: 'by query',
};

export const BLACKOUTS: Resource = {
  noun: 'blackout',
  plural: 'blackouts',
  columns: ['blackout_id', 'name', 'effect', 'time_zone', 'dates', 'weekly', 'version'],
  named: 'by query',
};

/** A command that asks the hub, with `--json` and the options that name the hub. */
export function hubCommand(name: string, description: string): CliCommand {
  return withHubOptions(new CliCommand(name).description(description).option('--json', "print the hub's answer, for programs"));
}

/** A command that only reads: it shows the hub's present or, with `--as-of`, its past. */
export function readingCommand(name: string, description: string): CliCommand {
  return hubCommand(name, description).option('--as-of <instant>', 'as it was at this time (2026-11-21T10:30:00Z) or position');
}

export function listCommand({ plural, path = plural, columns, shown = (row) => row, filters = {} }: Resource, environment: NodeJS.ProcessEnv): CliCommand {
  const command = readingCommand('list', `list ${plural}`)
    .option('--limit <number>', `how many at most, up to ${MOST}`, pageLimit, 100)
    .does(async (options: ResourceOptions & Readonly<Record<string, unknown>> & { readonly limit: number }) => {
      const query = new URLSearchParams({ limit: String(options.limit) });
      for (const [option, parameter] of Object.entries(filters)) {
        const value = options[option];
        if (typeof value === 'string') query.set(parameter, value);
      }
      const answer = await (await hubOf(options, environment)).call<Shown>('GET', `/${path}?${query.toString()}`);
      process.stdout.write(options.json === true ? `${JSON.stringify(answer, null, 2)}\n` : table(columns, rowsOf(answer, plural).map(shown)));
      if (answer['next_cursor'] !== null && options.json !== true) process.stderr.write('There are more; raise --limit.\n');
    });
  for (const [option, parameter] of Object.entries(filters)) command.option(`--${option} <value>`, `only those with this ${parameter}`);
  return command;
}

export function showCommand(resource: Resource, environment: NodeJS.ProcessEnv): CliCommand {
  const { noun, plural, path = plural, named } = resource;
  return readingCommand('show', `show one ${noun}`)
    .argument(`<${noun}>`, named === 'never' ? 'its id' : 'its name or id')
    .does(async (nameOrId: string, options: ResourceOptions) => {
      const hub = await hubOf(options, environment);
      printRecord(await hub.call<Shown>('GET', `/${path}/${await idOf(hub, resource, nameOrId)}`), options);
    });
}

/** @throws Error when nothing has that name */
export async function idOf(hub: HubApi, { noun, plural, path = plural, command = noun, columns, named }: Resource, nameOrId: string): Promise<string> {
  if (UUID.test(nameOrId)) return nameOrId;
  if (named === 'never') throw new Error(`"${nameOrId}" is not the id of a ${noun}; sendense ${command} list shows the ids`);
  const query = named === 'by query' ? `name=${encodeURIComponent(nameOrId)}` : `limit=${MOST}`;
  const rows = rowsOf(await hub.call<Shown>('GET', `/${path}?${query}`), plural);
  const found = rows.find(({ name }) => name === nameOrId);
  if (found === undefined) throw new Error(`there is no ${noun} "${nameOrId}"; sendense ${command} list shows them all`);
  return String(found[columns[0]]);
}

/** The hub's own answer has the shape of its API document. */
function rowsOf(answer: Shown, plural: string): readonly Shown[] {
  return answer[plural] as readonly Shown[];
}

export function printRecord(record: object, { json }: ResourceOptions): void {
  const width = Math.max(...Object.keys(record).map(({ length }) => length));
  const lines = Object.entries(record).map(([member, value]) => `${member.padEnd(width)}  ${cell(member, value)}\n`);
  process.stdout.write(json === true ? `${JSON.stringify(record, null, 2)}\n` : lines.join(''));
}

/** A heading, and a line for each row; `null` is shown as a dash. */
export function table(columns: readonly string[], rows: readonly Shown[]): string {
  const cells = [columns.map((name) => name.replaceAll('_', ' ').toUpperCase()), ...rows.map((row) => columns.map((name) => cell(name, row[name])))];
  const widths = columns.map((_, index) => Math.max(...cells.map((line) => (line[index] ?? '').length)));
  return cells
    .map(
      (line) =>
        `${line
          .map((text, index) => text.padEnd(widths[index] ?? 0))
          .join('  ')
          .trimEnd()}\n`,
    )
    .join('');
}

function cell(member: string, value: unknown): string {
  if (value === null || value === undefined) return '-';
  if (typeof value === 'number' && member.endsWith('_bytes')) return bytesText(value);
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** `41 % of 250 GiB`, with the level if it is not `ok`. The hub's own answer has the shape of its API document. */
function capacityText(capacity: unknown): string | null {
  if (capacity === null || capacity === undefined) return null;
  const { used_percent, total_bytes, level } = capacity as { used_percent: number; total_bytes: number; level: string };
  return `${Math.round(used_percent)} % of ${bytesText(total_bytes)}${level === 'ok' ? '' : ` (${level})`}`;
}

function tiersText(tiers: unknown): string | null {
  return Array.isArray(tiers) && tiers.length > 0 ? tiers.join(',') : null;
}

/** `pinned`, `held`, `expired` or a dash: what keeps a restore point by hand, or that its policy does not keep it. */
function retentionText({ pin, hold, expiry }: Shown): string | null {
  if (hold !== null) return 'held';
  if (pin !== null) return 'pinned';
  return expiry === null ? null : 'expired';
}

/** @throws InvalidArgumentError */
export function pageLimit(text: string): number {
  if (!/^[1-9]\d{0,3}$/.test(text) || Number(text) > MOST) throw new InvalidArgumentError(`It must be a number from 1 to ${MOST}.`);
  return Number(text);
}
