import { isDeepStrictEqual } from 'node:util';
import { InvalidArgumentError, Option } from 'commander';
import { NODE_SOURCES } from '../../contract/words.js';
import type { CopyRule, Occurrence, Policy, PolicyPreview, PolicySimulation, PolicyWhatIf, Retention, VerificationRules } from '../api/answers.js';
import type { HubApi } from '../api/hub-api.client.js';
import { hubOf } from '../api/hub-options.js';
import {
  BLACKOUTS,
  hubCommand,
  idOf,
  listCommand,
  NODES,
  POLICIES,
  printRecord,
  readingCommand,
  REPOSITORIES,
  type ResourceOptions,
  showCommand,
  table,
  VMS,
} from '../api/resource.command.js';
import { CliCommand } from '../terminal/command.js';
import { instant } from '../terminal/option-values.js';
import { whatIfText } from './what-if.printer.js';

interface Rule {
  readonly by: string;
  readonly value: string;
}

type StartWindow = Exclude<Policy['start_window'], null>;
type Blackout = Policy['blackouts'][number];

interface SettingOptions extends ResourceOptions {
  readonly schedule?: string;
  readonly timeZone?: string;
  readonly repository?: string;
  readonly include?: readonly Rule[];
  readonly exclude?: readonly Rule[];
  readonly backupType?: string;
  readonly spread?: number;
  readonly startWindow?: StartWindow | 'none';
  readonly blackout?: readonly Blackout[];
  readonly sharedBlackout?: readonly string[];
  readonly catchUp?: string;
  readonly keepLast?: number;
  readonly keepWithin?: string;
  readonly keepDaily?: number;
  readonly keepWeekly?: number;
  readonly keepMonthly?: number;
  readonly keepYearly?: number;
  readonly keepAll?: true;
  readonly appliesTo?: string;
  readonly confirmExpiring?: number;
  readonly dryRun?: true;
  readonly rpo?: number | 'none';
  readonly verifyEvery?: number;
  readonly bootEvery?: number;
  readonly consoleText?: string;
  readonly guestAgent?: string;
  readonly bootTimeout?: number;
  readonly runWithin?: string;
  readonly concurrencyTimeout?: number | 'none';
  readonly copyTo?: readonly string[];
}

interface WhatIfOptions extends SettingOptions {
  readonly horizon?: string;
  readonly since?: string;
  readonly days?: true;
}

interface OptOutOptions extends ResourceOptions {
  readonly reason: string;
  readonly until?: string;
}

const KEEP_NOTHING = { keep_last: null, keep_within: null, keep_daily: null, keep_weekly: null, keep_monthly: null, keep_yearly: null };
const NO_RULE: Retention = { ...KEEP_NOTHING, applies_to: 'all' };
const NO_CHECK: VerificationRules = { every_nth: null, boot_every_days: null, console_text: 'login:', guest_agent: true, timeout_seconds: 300 };
const RULE = /^(vm|name|label|node|source)=(.+)$/s;
const WINDOW = /^(?:([a-z]+(?:,[a-z]+)*) )?(\d\d:\d\d)-(\d\d:\d\d)$/;
const BLACKOUT = /^(defer|skip)=([^/]+)\/([^/]+)$/;
const DURATION = /^([1-9]\d{0,7})([smhd])$/;
const UNIT_SECONDS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400 };
/** A run is answered once its VMs are selected and the repository has answered. */
const RUN_MS = 60_000;
/** Three years of many VMs take a while. */
const WHAT_IF_MS = 300_000;

export function policyCommand(environment: NodeJS.ProcessEnv): CliCommand {
  const one = (command: CliCommand, work: (hub: HubApi, id: string, options: WhatIfOptions) => Promise<void>): CliCommand =>
    command.argument('<policy>', 'its name or id').does(async (nameOrId: string, options: WhatIfOptions) => {
      const hub = await hubOf(options, environment);
      await work(hub, await idOf(hub, POLICIES, nameOrId), options);
    });
  const create = withSettings(hubCommand('create', 'create a policy').argument('<name>', 'a new name')).does(async (name: string, options: SettingOptions) => {
    const hub = await hubOf(options, environment);
    const settings = {
      time_zone: Intl.DateTimeFormat().resolvedOptions().timeZone,
      ...(await settingsOf(hub, options)),
      retention: retentionOf(options, null),
      verification: verificationOf(options, null),
      name,
    };
    printRecord(await hub.call<Policy>('POST', '/policies', settings), options);
  });
  return new CliCommand('policy')
    .description('Shows, creates and runs policies, which back up VMs by themselves.')
    .addCommand(listCommand(POLICIES, environment))
    .addCommand(showCommand(POLICIES, environment))
    .addCommand(create)
    .addCommand(
      one(
        withSettings(hubCommand('edit', 'change settings of a policy; the others stay'))
          .option('--confirm-expiring <number>', 'so many restore points and copies may expire because the new rules keep less', number)
          .option('--dry-run', 'show which restore points would expire, and change nothing'),
        async (hub, id, options) => {
          if (options.dryRun === true) return simulate(hub, id, options);
          const change = await settingsOf(hub, options);
          const rules = ({ retention, verification }: Policy): Partial<Policy> => ({
            retention: retentionOf(options, retention),
            verification: verificationOf(options, verification),
          });
          printRecord(await edit(hub, id, (policy) => ({ ...change, ...rules(policy) }), options.confirmExpiring), options);
        },
      ),
    )
    .addCommand(
      one(
        withSettings(hubCommand('simulate', 'show what a policy, or an edit of it, would make, keep and remove; changes nothing'))
          .option('--horizon <duration>', 'how far to look ahead: hours, days or weeks, such as 90d; default: 365d')
          .option('--since <time>', 'also show what would be left today, had the policy been in force since then', instant)
          .option('--days', 'a line for each day instead of each month'),
        whatIf,
      ),
    )
    .addCommand(one(hubCommand('pause', 'disable a policy; runs that have started go on'), async (hub, id, options) => enable(hub, id, false, options)))
    .addCommand(one(hubCommand('resume', 'enable a policy again'), async (hub, id, options) => enable(hub, id, true, options)))
    .addCommand(optOut(environment))
    .addCommand(optIn(environment))
    .addCommand(
      one(hubCommand('run', 'run a policy now'), async (hub, id, options) => {
        const run = await hub.call<Occurrence>('POST', `/policies/${id}/run`, undefined, RUN_MS);
        if (options.json === true) printRecord(run, options);
        else process.stdout.write(`It backs up ${run.vms.length} VM(s). To follow them: sendense backup list\n`);
      }),
    )
    .addCommand(
      one(readingCommand('preview', 'show the next runs of a policy, and the VMs that it selects'), async (hub, id, options) => {
        const preview = await hub.call<PolicyPreview>('GET', `/policies/${id}/preview`);
        if (options.json === true) printRecord(preview, options);
        else process.stdout.write(previewText(preview));
      }),
    )
    .addCommand(
      one(readingCommand('runs', 'list the newest runs of a policy, also those that did not start'), async (hub, id, options) => {
        const answer = await hub.call<{ occurrences: readonly Occurrence[] }>('GET', `/policies/${id}/occurrences`);
        if (options.json === true) printRecord(answer, options);
        else process.stdout.write(table(['wall_time', 'trigger', 'outcome', 'reason', 'completed', 'checks', 'finished_at'], answer.occurrences.map(rowOf)));
      }),
    );
}

function optOut(environment: NodeJS.ProcessEnv): CliCommand {
  return hubCommand('opt-out', 'leave a VM out of a policy, whatever its rules select')
    .argument('<policy>', 'its name or id')
    .argument('<vm>', 'its name or id')
    .requiredOption('--reason <text>', 'why; shown wherever the VM is left out')
    .option('--until <time>', 'when it ends, such as 2026-12-31; default: never', instant)
    .does(async (policy: string, vm: string, options: OptOutOptions) => {
      const { reason, until = null } = options;
      await changeOptOut(await hubOf(options, environment), policy, vm, (vm_id) => ({ vm_id, reason, until }), options);
    });
}

function optIn(environment: NodeJS.ProcessEnv): CliCommand {
  return hubCommand('opt-in', 'end the opt-out of a VM')
    .argument('<policy>', 'its name or id')
    .argument('<vm>', 'its name or id')
    .does(async (policy: string, vm: string, options: ResourceOptions) => {
      await changeOptOut(await hubOf(options, environment), policy, vm, () => null, options);
    });
}

/** @param become the VM's opt-out from now on; null: it has none */
async function changeOptOut(
  hub: HubApi,
  policy: string,
  vm: string,
  become: (vmId: string) => Policy['opt_outs'][number] | null,
  options: ResourceOptions,
): Promise<void> {
  const vmId = await idOf(hub, VMS, vm);
  const entry = become(vmId);
  const change = ({ opt_outs }: Policy): Partial<Policy> => ({
    opt_outs: [...opt_outs.filter(({ vm_id }) => vm_id !== vmId), ...(entry === null ? [] : [entry])],
  });
  printRecord(await edit(hub, await idOf(hub, POLICIES, policy), change), options);
}

function withSettings(command: CliCommand): CliCommand {
  return command
    .option('--schedule <schedule>', '"every 4h", "daily at 22:00", "weekly on mon,thu at 01:30", "monthly on 1 at 03:00" or a cron expression')
    .option('--time-zone <zone>', "the schedule's time zone; for a new policy by default that of this machine")
    .option('--repository <repository>', 'name or id of the repository that keeps the restore points')
    .option('--include <rule...>', `select VMs by vm=NAME, name=PATTERN, label=LABEL, node=NAME or source=${NODE_SOURCES.join('|')}`, rule)
    .option('--exclude <rule...>', 'leave out VMs by the same rules', rule)
    .addOption(new Option('--backup-type <type>', 'auto makes an incremental if possible').choices(['auto', 'full', 'incremental']))
    .option('--spread <seconds>', 'spread the starts over this time', seconds)
    .option('--start-window <window>', 'when backups may start, such as 22:00-06:00 or "sat,sun 00:00-23:59"; none: always', startWindow)
    .option(
      '--blackout <blackout...>',
      'no starts in between: defer=FROM/UNTIL starts a run at its end, skip=FROM/UNTIL leaves it out; none: no blackouts',
      blackout,
    )
    .option('--shared-blackout <blackout...>', 'names or ids of shared blackouts that apply too; none: no shared blackouts')
    .option('--catch-up <what>', 'none or latest: whether the newest missed run is caught up')
    .option('--keep-last <number>', 'keep this many newest restore points of each VM; 0: no such rule', number)
    .option('--keep-within <duration>', 'keep those at most this much older than the newest, such as 36h, 14d or 8w; 0: no such rule')
    .option('--keep-daily <number>', 'keep the first of each of this many newest days', number)
    .option('--keep-weekly <number>', 'the same for ISO weeks', number)
    .option('--keep-monthly <number>', 'the same for months', number)
    .option('--keep-yearly <number>', 'the same for years', number)
    .addOption(new Option('--keep-all', 'keep every restore point'))
    .addOption(new Option('--applies-to <which>', 'whether the rules apply to older restore points too').choices(['all', 'new']))
    .option('--rpo <duration>', 'the age that the newest good restore point of each VM never exceeds, such as 24h; none: no promise', durationOrNone)
    .option('--verify-every <number>', "verify a VM's first restore point and each Nth after it; 1: each; 0: no such rule", number)
    .option('--boot-every <days>', 'boot a restore point of each VM every so many days; 0: no such rule', number)
    .option('--console-text <text>', 'text on the serial console by which a booted guest is known; none: no text')
    .addOption(new Option('--guest-agent <use>', 'whether the guest agent may show that the guest has booted').choices(['yes', 'no']))
    .option('--boot-timeout <seconds>', 'how long the guest has for that', seconds)
    .addOption(
      new Option('--run-within <what>', 'what happens to running backups when the start window closes or a blackout begins').choices(['finish', 'cancel']),
    )
    .option('--concurrency-timeout <duration>', 'cancel backups that wait in the queue for longer, such as 2h; none: they wait', durationOrNone)
    .option(
      '--copy-to <rule>',
      'copy restore points into this repository: all with those they depend on, or REPOSITORY:daily, :weekly, :monthly or :yearly for the first of each period, ' +
        'flattened; a number at the end, as in REPOSITORY:monthly:12, keeps only so many newest of these copies; may be repeated; none: copy nothing',
      (rule: string, earlier: readonly string[] | undefined) => [...(earlier ?? []), rule],
    );
}

/** The given settings as the hub takes them. */
async function settingsOf(hub: HubApi, options: SettingOptions): Promise<Partial<Policy>> {
  const { schedule, timeZone, repository, include, exclude, backupType, spread, startWindow: window, blackout: blackouts, catchUp, rpo: promised } = options;
  const { runWithin, concurrencyTimeout, sharedBlackout, copyTo } = options;
  return {
    ...(schedule === undefined ? {} : { schedule }),
    ...(timeZone === undefined ? {} : { time_zone: timeZone }),
    ...(repository === undefined ? {} : { repository_id: await idOf(hub, REPOSITORIES, repository) }),
    ...(include === undefined ? {} : { include: await rulesOf(hub, include) }),
    ...(exclude === undefined ? {} : { exclude: await rulesOf(hub, exclude) }),
    ...(backupType === undefined ? {} : { backup_type: backupType }),
    ...(spread === undefined ? {} : { spread_seconds: spread }),
    ...(window === undefined ? {} : { start_window: window === 'none' ? null : window }),
    ...(blackouts === undefined ? {} : { blackouts }),
    ...(catchUp === undefined ? {} : { catch_up: catchUp }),
    ...(promised === undefined ? {} : { rpo_seconds: promised === 'none' ? null : promised }),
    ...(sharedBlackout === undefined ? {} : { blackout_ids: await blackoutIdsOf(hub, sharedBlackout) }),
    ...(runWithin === undefined ? {} : { run_within: runWithin }),
    ...(copyTo === undefined ? {} : { copies: await copiesOf(hub, copyTo) }),
    ...(concurrencyTimeout === undefined ? {} : { concurrency_timeout_seconds: concurrencyTimeout === 'none' ? null : concurrencyTimeout }),
  };
}

const COPY_RULE = /^(.+?)(?::(every|daily|weekly|monthly|yearly)(?::(\d+))?)?$/s;

function copiesOf(hub: HubApi, rules: readonly string[]): Promise<CopyRule[]> {
  return Promise.all(
    rules
      .filter((rule) => rule !== 'none')
      .map(async (rule) => {
        const [, repository = rule, which = 'every', kept] = COPY_RULE.exec(rule) ?? [];
        const retention = kept === undefined ? null : { ...KEEP_NOTHING, [which === 'every' ? 'keep_last' : `keep_${which}`]: Number(kept) };
        return { repository_id: await idOf(hub, REPOSITORIES, repository), which, with_parents: which === 'every', bandwidth_limit_bps: null, retention };
      }),
  );
}

function blackoutIdsOf(hub: HubApi, names: readonly string[]): Promise<string[]> {
  return Promise.all(names.filter((name) => name !== 'none').map((name) => idOf(hub, BLACKOUTS, name)));
}

/** The rules of before with those that are given; null: every restore point is kept. */
function retentionOf(options: SettingOptions, before: Retention | null): Retention | null {
  if (options.keepAll === true) return null;
  const { keepLast, keepWithin, keepDaily, keepWeekly, keepMonthly, keepYearly, appliesTo } = options;
  const given = {
    ...(keepLast === undefined ? {} : { keep_last: keepLast || null }),
    ...(keepWithin === undefined ? {} : { keep_within: keepWithin === '0' ? null : keepWithin }),
    ...(keepDaily === undefined ? {} : { keep_daily: keepDaily || null }),
    ...(keepWeekly === undefined ? {} : { keep_weekly: keepWeekly || null }),
    ...(keepMonthly === undefined ? {} : { keep_monthly: keepMonthly || null }),
    ...(keepYearly === undefined ? {} : { keep_yearly: keepYearly || null }),
    ...(appliesTo === undefined ? {} : { applies_to: appliesTo }),
  };
  return before === null && Object.keys(given).length === 0 ? null : { ...NO_RULE, ...before, ...given };
}

/** The rules of before with those that are given; null: nothing is checked. */
function verificationOf(options: SettingOptions, before: VerificationRules | null): VerificationRules | null {
  const { verifyEvery, bootEvery, consoleText, guestAgent, bootTimeout } = options;
  const given = {
    ...(verifyEvery === undefined ? {} : { every_nth: verifyEvery || null }),
    ...(bootEvery === undefined ? {} : { boot_every_days: bootEvery || null }),
    ...(consoleText === undefined ? {} : { console_text: consoleText === 'none' ? null : consoleText }),
    ...(guestAgent === undefined ? {} : { guest_agent: guestAgent === 'yes' }),
    ...(bootTimeout === undefined ? {} : { timeout_seconds: bootTimeout }),
  };
  if (Object.keys(given).length === 0) return before;
  const rules = { ...NO_CHECK, ...before, ...given };
  const isEnded = rules.every_nth === null && rules.boot_every_days === null && (verifyEvery === 0 || bootEvery === 0);
  return isEnded ? null : rules;
}

async function simulate(hub: HubApi, policy_id: string, options: SettingOptions): Promise<void> {
  const { retention, time_zone } = await hub.call<Policy>('GET', `/policies/${policy_id}`);
  const request = { policy_id, retention: retentionOf(options, retention), time_zone: options.timeZone ?? time_zone };
  const effect = await hub.call<PolicySimulation>('POST', '/policies/simulate', request);
  if (options.json === true) {
    printRecord(effect, options);
    return;
  }
  const expiring = effect.points.map((point) => ({ ...point, not_kept_by: point.reasons.map(({ rule, outcome }) => `${rule} ${outcome}`).join(', ') }));
  process.stdout.write(`${effect.newly_expiring} restore point(s) would expire that are kept now. Nothing has been changed.\n`);
  if (expiring.length > 0) process.stdout.write(`\n${table(['backup_id', 'vm_name', 'snapshot_instant', 'not_kept_by'], expiring)}`);
}

async function whatIf(hub: HubApi, id: string, options: WhatIfOptions): Promise<void> {
  const { horizon, since } = options;
  const change = await settingsOf(hub, options);
  const policy = await hub.call<Policy>('GET', `/policies/${id}`);
  const retention = retentionOf(options, policy.retention);
  const verification = verificationOf(options, policy.verification);
  const isEdit =
    Object.keys(change).length > 0 || !isDeepStrictEqual({ retention, verification }, { retention: policy.retention, verification: policy.verification });
  const request = {
    ...(horizon === undefined ? {} : { horizon }),
    ...(since === undefined ? {} : { since }),
    ...(isEdit ? { settings: { ...settingsIn(policy), ...change, retention, verification } } : {}),
  };
  const answer = await hub.call<PolicyWhatIf>('POST', `/policies/${id}/simulate`, request, WHAT_IF_MS);
  if (options.json === true) printRecord(answer, options);
  else process.stdout.write(whatIfText(answer, options.days === true));
}

function settingsIn({ policy_id: _id, version: _version, created_at: _created, edited_at: _edited, position: _position, ...settings }: Policy) {
  return settings;
}

function rulesOf(hub: HubApi, rules: readonly Rule[]): Promise<Rule[]> {
  return Promise.all(
    rules.map(async ({ by, value }) => {
      if (by === 'vm') return { by: 'vm_id', value: await idOf(hub, VMS, value) };
      return by === 'node' ? { by: 'node_id', value: await idOf(hub, NODES, value) } : { by, value };
    }),
  );
}

/** Replaces some settings of the newest version; refused if someone else edits the policy meanwhile. */
async function edit(hub: HubApi, id: string, change: (policy: Policy) => Partial<Policy>, confirmExpiring = 0): Promise<Policy> {
  const policy = await hub.call<Policy>('GET', `/policies/${id}`);
  const request = { ...settingsIn(policy), version: policy.version, ...change(policy), confirm_expiring: confirmExpiring };
  return hub.call<Policy>('PUT', `/policies/${id}`, request);
}

async function enable(hub: HubApi, id: string, enabled: boolean, options: ResourceOptions): Promise<void> {
  const policy = await edit(hub, id, () => ({ enabled }));
  if (options.json === true) printRecord(policy, options);
  else process.stdout.write(`Policy "${policy.name}" is ${enabled ? 'enabled' : 'disabled'} as of version ${policy.version}.\n`);
}

function previewText({ sentence, next_occurrences, vms, left_out }: PolicyPreview): string {
  const chosen = [...vms.map((vm) => ({ ...vm, backed_up: 'yes' })), ...left_out.map((vm) => ({ ...vm, backed_up: 'no' }))];
  return `${sentence}\n\n${table(['wall_time', 'at'], next_occurrences)}\n${table(['vm_name', 'backed_up', 'because'], chosen)}`;
}

function rowOf({ vms, ...occurrence }: Occurrence): Readonly<Record<string, unknown>> {
  const completed = vms.filter(({ status }) => status === 'completed').length;
  return { ...occurrence, completed: vms.length === 0 ? null : `${completed} of ${vms.length}`, checks: checksOf(vms) };
}

/** Such as "verify passed 3, boot_check failed 1"; null: nothing is checked. */
function checksOf(vms: Occurrence['vms']): string | null {
  const found = vms.flatMap(({ checks }) => checks.map(({ step, status }) => `${step} ${status}`));
  if (found.length === 0) return null;
  return [...Map.groupBy(found, (text) => text)].map(([text, same]) => `${text} ${same.length}`).join(', ');
}

function rule(text: string, earlier: readonly Rule[] = []): readonly Rule[] {
  const [, by, value] = RULE.exec(text) ?? [];
  if (by === undefined || value === undefined) throw new InvalidArgumentError('It must be vm=, name=, label=, node= or source= and a value.');
  return [...earlier, { by, value }];
}

function startWindow(text: string): StartWindow | 'none' {
  if (text === 'none') return text;
  const [, days, from, until] = WINDOW.exec(text) ?? [];
  if (from === undefined || until === undefined)
    throw new InvalidArgumentError('It must be none, or two times of day, such as 22:00-06:00 or "sat,sun 00:00-23:59".');
  return { from, until, days: days === undefined ? [] : days.split(',') };
}

function blackout(text: string, earlier: readonly Blackout[] = []): readonly Blackout[] {
  if (text === 'none') return [];
  const [, effect, from, until] = BLACKOUT.exec(text) ?? [];
  if (effect === undefined || from === undefined || until === undefined) {
    throw new InvalidArgumentError('It must be none, or such as defer=2026-12-24T16:00:00Z/2026-12-27 or skip=2026-12-31/2027-01-01.');
  }
  return [...earlier, { from: instant(from), until: instant(until), effect }];
}

function durationOrNone(text: string): number | 'none' {
  if (text === 'none') return text;
  const [, amount, unit] = DURATION.exec(text) ?? [];
  const size = unit === undefined ? undefined : UNIT_SECONDS[unit];
  if (amount === undefined || size === undefined) throw new InvalidArgumentError('It must be a duration, such as 90m, 24h or 7d, or none.');
  return Number(amount) * size;
}

function seconds(text: string): number {
  if (!/^\d{1,5}$/.test(text)) throw new InvalidArgumentError('It must be a number of seconds.');
  return Number(text);
}

function number(text: string): number {
  if (!/^\d{1,5}$/.test(text)) throw new InvalidArgumentError('It must be a whole number.');
  return Number(text);
}
