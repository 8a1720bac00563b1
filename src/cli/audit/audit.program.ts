import { Option } from 'commander';
import type { AuditEvent, Backup } from '../api/answers.js';
import type { HubApi } from '../api/hub-api.client.js';
import { hubOf } from '../api/hub-options.js';
import { BACKUPS, hubCommand, idOf, type ResourceOptions, VMS } from '../api/resource.command.js';
import { bytesText } from '../../kernel/bytes-text.js';
import { CliCommand } from '../terminal/command.js';
import { instant } from '../terminal/option-values.js';
import { type TimelineBlock, timelineOf } from './model/timeline.plan.js';

interface ReplayOptions extends ResourceOptions {
  readonly from?: string;
  readonly to?: string;
  readonly stream?: string;
  readonly vm?: string;
  readonly backup?: string;
}

/** Kinds of streams that are about one restore point from their first event on. */
const OF_ONE_BACKUP = ['nbdExport', 'restoreExport', 'restoreJob', 'restoreMount', 'verification', 'vmRestore'];
/** As many as the hub allows on a page. */
const PAGE = '1000';

export function auditCommand(environment: NodeJS.ProcessEnv): CliCommand {
  const replay: CliCommand = hubCommand('replay', 'print what happened as a timeline: each request with all that followed from it');
  replay
    .option('--from <time>', 'from this time on, for example 2026-11-21T10:30:00Z or 2026-11-21; default: the beginning', instant)
    .option('--to <time>', 'before this time; default: now', instant)
    .addOption(new Option('--stream <stream>', 'only the events of this stream, for example vm-<id>').conflicts(['vm', 'backup']))
    .addOption(new Option('--vm <vm>', 'only what concerns this VM and its backups: its name or id').conflicts('backup'))
    .option('--backup <backup>', 'only what concerns this backup: its id')
    .does(async (options: ReplayOptions) => {
      const { from, to } = options;
      if (from !== undefined && to !== undefined && from >= to) return replay.error('--to must be later than --from');
      const hub = await hubOf(options, environment);
      const range = { ...(from === undefined ? {} : { since: from }), ...(to === undefined ? {} : { until: to }) };
      await print(eventsFor(hub, range, options), options);
      return 0;
    });
  return new CliCommand('audit').description('Shows what the hub has recorded.').addCommand(replay);
}

type Filter = Readonly<Record<string, string>>;

async function* eventsFor(hub: HubApi, range: Filter, { stream, vm, backup }: ReplayOptions): AsyncGenerator<AuditEvent, void, undefined> {
  if (stream !== undefined) return yield* events(hub, { ...range, stream });
  if (vm === undefined && backup === undefined) return yield* events(hub, range);
  const ids = vm === undefined ? [(await hub.call<Backup>('GET', `/backups/${await idOf(hub, BACKUPS, backup ?? '')}`)).backup_id] : await idsOfVm(hub, vm);
  const correlations = await correlationsOf(hub, range, ids);
  for await (const event of events(hub, range)) if (correlations.has(event.correlation_id)) yield event;
}

/** Oldest first. */
function events(hub: HubApi, filter: Filter): AsyncGenerator<AuditEvent, void, undefined> {
  return rowsOf(hub, '/audit/events', { ...filter, order: 'oldest_first' }, ({ events: found = [] }) => found);
}

/** Of one of the lists that are read here. */
interface Page {
  readonly next_cursor: string | null;
  readonly events?: readonly AuditEvent[];
  readonly backups?: readonly Backup[];
}

/** All rows of a list of the hub, page by page. */
async function* rowsOf<Row>(hub: HubApi, path: string, filter: Filter, rows: (page: Page) => readonly Row[]): AsyncGenerator<Row, void, undefined> {
  for (let cursor: string | null = ''; cursor !== null;) {
    const query = new URLSearchParams({ ...filter, limit: PAGE, ...(cursor === '' ? {} : { cursor }) }).toString();
    const page: Page = await hub.call('GET', `${path}?${query}`);
    yield* rows(page);
    cursor = page.next_cursor;
  }
}

/** The VM's id, and those of its backups. */
async function idsOfVm(hub: HubApi, named: string): Promise<readonly string[]> {
  const vm_id = await idOf(hub, VMS, named);
  const ids = [vm_id];
  const backups = rowsOf(hub, '/backups', { vm_id }, ({ backups: found = [] }) => found);
  for await (const { backup_id } of backups) ids.push(backup_id);
  return ids;
}

/** The correlations in which an event, or the first event of its stream, names one of the ids. */
async function correlationsOf(hub: HubApi, range: Filter, ids: readonly string[]): Promise<ReadonlySet<string>> {
  const wanted = new RegExp(ids.join('|'));
  const names = ({ stream, data }: Pick<AuditEvent, 'stream' | 'data'>): boolean => wanted.test(stream) || wanted.test(JSON.stringify(data));
  const found = new Set<string>();
  const beginnings = new Map<string, boolean>();
  for await (const event of events(hub, range)) {
    if (event.revision === 0) beginnings.set(event.stream, names(event));
    if (!found.has(event.correlation_id) && (names(event) || (await belongs(event)))) found.add(event.correlation_id);
  }
  return found;

  async function belongs({ category, stream }: AuditEvent): Promise<boolean> {
    if (!OF_ONE_BACKUP.includes(category)) return false;
    // It may have begun before the range.
    const known =
      beginnings.get(stream) ?? (await hub.call<{ events: AuditEvent[] }>('GET', `/audit/streams/${encodeURIComponent(stream)}?limit=1`)).events.some(names);
    beginnings.set(stream, known);
    return known;
  }
}

async function print(found: AsyncIterable<AuditEvent>, { json }: ResourceOptions): Promise<void> {
  const kept: AuditEvent[] = [];
  for await (const event of found) {
    if (json === true) process.stdout.write(`${JSON.stringify(event)}\n`);
    else kept.push(event);
  }
  if (json === true) return;
  const blocks = timelineOf(kept, bytesText);
  for (const block of blocks) process.stdout.write(`${textOf(block)}\n`);
  process.stderr.write(`${kept.length} event(s) of ${blocks.length} request(s).\n`);
}

function textOf({ time, subject, cause, correlation_id, outcome, duration_ms, steps }: TimelineBlock): string {
  const width = (of: (step: TimelineBlock['steps'][number]) => string): number => Math.max(...steps.map((step) => of(step).length));
  const typeOf = ({ type, times }: { type: string; times: number }): string => (times === 1 ? type : `${type} (${times} times)`);
  const actors = width(({ actor }) => actor);
  const types = width(typeOf);
  const after = steps.length === 1 ? '' : `, ${seconds(duration_ms)}`;
  return [
    `${time}  ${subject}: ${outcome}${after}`,
    `  ${cause}; correlation ${correlation_id}`,
    ...steps.map((step) =>
      `  ${`+${seconds(step.offset_ms)}`.padStart(11)}  ${step.actor.padEnd(actors)}  ${typeOf(step).padEnd(types)}  ${step.detail}`.trimEnd(),
    ),
    '',
  ].join('\n');
}

function seconds(milliseconds: number): string {
  return `${(milliseconds / 1000).toFixed(3)} s`;
}
