import { InvalidArgumentError, Option } from 'commander';
import type { SharedBlackout } from '../api/answers.js';
import { hubOf } from '../api/hub-options.js';
import { BLACKOUTS, hubCommand, idOf, listCommand, printRecord, type ResourceOptions, showCommand } from '../api/resource.command.js';
import { CliCommand } from '../terminal/command.js';

type Dates = SharedBlackout['dates'];
type Weekly = SharedBlackout['weekly'];

interface BlackoutOptions extends ResourceOptions {
  readonly effect?: string;
  readonly timeZone?: string;
  readonly dates?: Dates;
  readonly weekly?: Weekly;
}

const DATES = /^(\d{4}-[^/]+)\/(\d{4}-[^/]+)$/;
const WEEKLY = /^(?:([a-z]+(?:,[a-z]+)*) )?(\d\d:\d\d)-(\d\d:\d\d)$/;

export function blackoutCommand(environment: NodeJS.ProcessEnv): CliCommand {
  return new CliCommand('blackout')
    .description('Shows and changes shared blackouts: times without starts of policies.')
    .addCommand(listCommand(BLACKOUTS, environment))
    .addCommand(showCommand(BLACKOUTS, environment))
    .addCommand(
      withTimes(hubCommand('create', 'create a shared blackout').argument('<name>', 'a new name')).does(async (name: string, options: BlackoutOptions) => {
        const time_zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
        const blackout = { time_zone, effect: 'defer', ...settingsOf(options), name };
        printRecord(await (await hubOf(options, environment)).call<SharedBlackout>('POST', '/blackouts', blackout), options);
      }),
    )
    .addCommand(
      withTimes(hubCommand('edit', 'change a shared blackout; what is not given stays').argument('<blackout>', 'its name or id')).does(
        async (nameOrId: string, options: BlackoutOptions) => {
          const hub = await hubOf(options, environment);
          const id = await idOf(hub, BLACKOUTS, nameOrId);
          const { version, name, time_zone, effect, dates, weekly } = await hub.call<SharedBlackout>('GET', `/blackouts/${id}`);
          const request = { version, name, time_zone, effect, dates, weekly, ...settingsOf(options) };
          printRecord(await hub.call<SharedBlackout>('PUT', `/blackouts/${id}`, request), options);
        },
      ),
    )
    .addCommand(
      hubCommand('delete', 'delete a shared blackout that no policy uses')
        .argument('<blackout>', 'its name or id')
        .does(async (nameOrId: string, options: ResourceOptions) => {
          const hub = await hubOf(options, environment);
          await hub.call('DELETE', `/blackouts/${await idOf(hub, BLACKOUTS, nameOrId)}`);
        }),
    );
}

function withTimes(command: CliCommand): CliCommand {
  return command
    .addOption(
      new Option('--effect <effect>', 'whether a run that is due within it starts at its end, or not at all; default: defer').choices(['defer', 'skip']),
    )
    .option('--time-zone <zone>', 'whose clock the times follow; for a new blackout by default that of this machine')
    .option('--dates <from/until...>', 'such as 2026-12-24T16:00/2026-12-27; none: no dates', dates)
    .option('--weekly <hours...>', 'such as 08:00-18:00 or "mon,fri 08:00-18:00"; none: no weekly times', weekly);
}

function settingsOf({ effect, timeZone, dates: given, weekly: hours }: BlackoutOptions): Partial<SharedBlackout> {
  return {
    ...(effect === undefined ? {} : { effect }),
    ...(timeZone === undefined ? {} : { time_zone: timeZone }),
    ...(given === undefined ? {} : { dates: given }),
    ...(hours === undefined ? {} : { weekly: hours }),
  };
}

function dates(text: string, earlier: Dates = []): Dates {
  if (text === 'none') return [];
  const [, from, until] = DATES.exec(text) ?? [];
  if (from === undefined || until === undefined) throw new InvalidArgumentError('It must be none, or such as 2026-12-24T16:00/2026-12-27.');
  return [...earlier, { from, until }];
}

function weekly(text: string, earlier: Weekly = []): Weekly {
  if (text === 'none') return [];
  const [, days, from, until] = WEEKLY.exec(text) ?? [];
  if (from === undefined || until === undefined) throw new InvalidArgumentError('It must be none, or such as 08:00-18:00 or "mon,fri 08:00-18:00".');
  return [...earlier, { from, until, days: days === undefined ? [] : days.split(',') }];
}
