import { randomUUID } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { KeyedMutex } from '../../lib/concurrency/keyed-mutex.js';
import { withPassingFolder } from '../../lib/process/passing-folder.js';
import { runTool } from '../../lib/process/run-tool.js';
import { ToolError } from '../../lib/process/tool-error.js';
import {
  type CheckpointDescription,
  type DomainDescription,
  parseBackupSocket,
  parseCheckpoint,
  parseDomain,
  parseSnapshotDomain,
} from '../../lib/libvirt/domain-xml.js';
import { LibvirtError, libvirtErrorCode } from './libvirt-error.js';
import { type Answer, batchText, splitBatch } from './virsh-batch.plan.js';

const CALL_MS = 30_000;
/** Deleting a bitmap merges nothing, but waits for the guest's disk. */
const DELETE_MS = 120_000;
/** libvirt makes scratch files and bitmaps for every disk; the guest may be frozen meanwhile. */
const BEGIN_MS = 60_000;
const FREEZE_MS = 60_000;
/** How long libvirt itself waits for the guest agent, in seconds. */
const AGENT_SECONDS = 10;
const ASKED_OF_CHECKPOINT = 2;
const ASKED_OF_JOB = 2;
/** An argument list has its limit. */
const DOMAINS_PER_CALL = 50;
/** Each takes about a millisecond, which is less than another start of the client. */
const LOOKS_AFTER_ABORT = 10;

export type DomainState = 'running' | 'paused' | 'shut_off' | 'crashed' | 'other';

/** State words of `virsh domstate`. A domain that is being shut down, idle or blocked runs on. */
const STATES: Readonly<Record<string, DomainState>> = {
  running: 'running',
  idle: 'running',
  'in shutdown': 'running',
  paused: 'paused',
  pmsuspended: 'paused',
  'shut off': 'shut_off',
  crashed: 'crashed',
};

/** What libvirt tells of one checkpoint. */
export interface InspectedCheckpoint {
  /** With the domain as it was then. */
  readonly described: CheckpointDescription;
  /** With the changed bytes of each disk whose bitmap qemu has and trusts; without the domain. null: libvirt would not measure it. Of a domain that is off: null. */
  readonly measured: CheckpointDescription | null;
}

/** A domain as libvirt describes it. */
export interface DomainInspection {
  readonly domain: DomainDescription;
  /** Its XML as it will be at its next start. */
  readonly definition: string;
  readonly state: DomainState;
  /** Those asked for that it has, in libvirt's order. */
  readonly checkpoints: readonly InspectedCheckpoint[];
  /** Virtual sizes in bytes by target, of those disks whose size libvirt knows. Of a domain that is off there are none. */
  readonly capacities: ReadonlyMap<string, number>;
  readonly backupJob: BackupJobState;
}

/**
 * The backup job of a domain. `lost`: libvirt holds the domain for a backup job that it knows nothing of any more, because it was killed while the job began: it neither ends
 * that job nor begins another one until the domain's qemu has ended.
 */
export interface BackupJobState {
  /** Where it serves; null: none runs, or one that serves elsewhere. */
  readonly socket: string | null;
  readonly lost: boolean;
}

/**
 * libvirt by its own client program, one process per call; all of it may be repeated. Domains are addressed by uuid.
 *
 * Every method throws LibvirtError where libvirt refuses, is away or does not answer in time, and ToolError `tool_missing` without virsh.
 */
export class Virsh {
  /** A libvirtd (9.0) that measures a checkpoint of a domain dies when one of that domain's is deleted meanwhile, so we do not ask for both at once. */
  private readonly checkpointCalls = new KeyedMutex();
  /** By uuid, checkpoints that a domain had last, or has got since. They are asked about in the same call as the list of those there are: most of what a question takes is the client's start. */
  private readonly expected = new Map<string, readonly string[]>();

  constructor(private readonly uri: string) {}

  /** uuids of all domains, running or not. */
  async domains(): Promise<readonly string[]> {
    return lines(await this.call(['list', '--all', '--uuid']));
  }

  async state(uuid: string): Promise<DomainState> {
    return STATES[(await this.call(['domstate', uuid])).trim()] ?? 'other';
  }

  /** Whether qemu has stopped the guest at a request to a disk that could not be done, and holds the request. */
  async isStoppedByIoError(uuid: string): Promise<boolean> {
    return (await this.call(['domstate', uuid, '--reason'])).trim() === 'paused (I/O error)';
  }

  async resume(uuid: string): Promise<void> {
    await this.call(['resume', uuid]);
  }

  /** inactive: as it will be at its next start, and as a running one is not always. Never with secrets. */
  async domainXml(uuid: string, options: { readonly inactive: boolean }): Promise<string> {
    return this.call(['dumpxml', ...(options.inactive ? ['--inactive'] : []), uuid]);
  }

  async describe(uuid: string, options: { readonly inactive: boolean }): Promise<DomainDescription> {
    return parseDomain(await this.domainXml(uuid, options));
  }

  /** By one process, where the domain's checkpoints are those that it is known to have had, and by two otherwise. @param isWanted by name, which checkpoints are asked about */
  async inspect(uuid: string, isWanted: (checkpoint: string) => boolean): Promise<DomainInspection> {
    const expected = this.expected.get(uuid) ?? [];
    const look = [
      ['dumpxml', uuid],
      ['dumpxml', '--inactive', uuid],
      ['domstate', uuid],
      ['checkpoint-list', uuid, '--name'],
      ['domstats', '--raw', '--block', uuid],
      ...aboutBackupJob(uuid),
    ];
    const answers = await this.askOfCheckpoints(uuid, look, expected);
    const [xml, definition, state, list, stats, job, jobInfo] = answers;
    const domain = parseDomain(printed(xml));
    const names = lines(printed(list)).filter(isWanted);
    const told = new Map(expected.map((name, index) => [name, answers.slice(look.length + index * ASKED_OF_CHECKPOINT)]));
    const unexpected = names.filter((name) => !told.has(name));
    if (unexpected.length > 0) {
      const more = await this.askOfCheckpoints(uuid, [], unexpected);
      for (const [index, name] of unexpected.entries()) told.set(name, more.slice(index * ASKED_OF_CHECKPOINT));
    }
    this.expected.set(uuid, names);
    return {
      domain,
      definition: printed(definition),
      state: STATES[printed(state).trim()] ?? 'other',
      checkpoints: names.map((name) => {
        const [described, measured] = told.get(name) ?? [];
        return { described: parseCheckpoint(printed(described)), measured: domain.active ? measuredIn(measured) : null };
      }),
      capacities: domain.active ? capacitiesIn(printed(stats)) : new Map<string, number>(),
      backupJob: { socket: socketIn(job), lost: isLost(jobInfo) },
    };
  }

  /** So that the next inspection asks about it at once. */
  expectCheckpoint(uuid: string, name: string): void {
    this.expected.set(uuid, [...(this.expected.get(uuid) ?? []), name]);
  }

  /** Where a volume of a storage pool lies. */
  async volumePath(pool: string, volume: string): Promise<string> {
    return (await this.call(['vol-path', '--pool', pool, '--vol', volume])).trim();
  }

  /** The domain as it was at each of its snapshots that libvirt knows. */
  async snapshotDomains(uuid: string): Promise<readonly DomainDescription[]> {
    const names = lines(await this.call(['snapshot-list', uuid, '--name']));
    if (names.length === 0) return [];
    const answers = await this.ask(names.map((name) => ['snapshot-dumpxml', uuid, name]));
    return answers.map((answer) => parseSnapshotDomain(printed(answer))).filter((domain) => domain !== null);
  }

  async checkpoints(uuid: string): Promise<readonly string[]> {
    return lines(await this.call(['checkpoint-list', uuid, '--name']));
  }

  /** The newest ones, that no other stands on; a new one becomes the child of one of them. */
  async leafCheckpoints(uuid: string): Promise<readonly string[]> {
    return lines(await this.call(['checkpoint-list', uuid, '--leaves', '--name']));
  }

  /** metadataOnly: libvirt forgets it, its bitmaps stay. Without, the domain must run. */
  async deleteCheckpoint(uuid: string, name: string, options: { readonly metadataOnly: boolean }): Promise<void> {
    const argv = ['checkpoint-delete', uuid, name, ...(options.metadataOnly ? ['--metadata'] : [])];
    await this.checkpointCalls.runExclusive(uuid, () => this.call(argv, DELETE_MS));
  }

  /** Tells libvirt of a checkpoint whose bitmaps exist already, or that is to be deleted as if they did. */
  async redefineCheckpoint(uuid: string, xml: string): Promise<void> {
    await withFiles([xml], ([file = '']) => this.checkpointCalls.runExclusive(uuid, () => this.call(['checkpoint-create', uuid, file, '--redefine'])));
  }

  /**
   * Begins a backup, and with it a checkpoint at the same instant; all or nothing. The scratch files must be there, empty: a qemu (7.2) that makes them itself dies of a failed
   * assertion in `qcow2_get_specific_info` when anybody asks about its disks at that moment, and its guest with it.
   * @param checkpointXml null: without a checkpoint
   */
  async beginBackup(uuid: string, backupXml: string, checkpointXml: string | null): Promise<void> {
    await withFiles(checkpointXml === null ? [backupXml] : [backupXml, checkpointXml], (files) =>
      this.callOnce(['backup-begin', uuid, ...files, '--reuse-external'], BEGIN_MS),
    );
  }

  async backupJob(uuid: string): Promise<BackupJobState> {
    const [job, jobInfo] = await this.ask(aboutBackupJob(uuid));
    return { socket: socketIn(job), lost: isLost(jobInfo) };
  }

  /** Of all domains that run, by uuid; two processes, however many they are. */
  async backupJobs(): Promise<ReadonlyMap<string, BackupJobState>> {
    const uuids = lines(await this.call(['list', '--uuid']));
    const found = new Map<string, BackupJobState>();
    for (let first = 0; first < uuids.length; first += DOMAINS_PER_CALL) {
      const some = uuids.slice(first, first + DOMAINS_PER_CALL);
      const answers = await this.ask(some.flatMap(aboutBackupJob));
      for (const [index, uuid] of some.entries()) {
        const [job, jobInfo] = answers.slice(index * ASKED_OF_JOB);
        // One that has gone away since has none.
        if (job !== undefined && 'error' in job && job.error.code === 'domain_not_found') continue;
        found.set(uuid, { socket: socketIn(job), lost: isLost(jobInfo) });
      }
    }
    return found;
  }

  /** Ends whatever job runs on the domain. May return before it has ended. @returns the socket as `backupJob`, after some looks at once, of which the first mostly come too early */
  async abortJob(uuid: string): Promise<string | null> {
    const looks = Array.from({ length: LOOKS_AFTER_ABORT }, () => ['backup-dumpxml', uuid]);
    const answers = await this.ask([['domjobabort', uuid], ...looks]);
    printed(answers[0]);
    return socketIn(answers.at(-1));
  }

  /** Freezes all file systems of the guest. @returns how many */
  async freeze(uuid: string): Promise<number> {
    await this.call(['guest-agent-timeout', uuid, '--timeout', `${AGENT_SECONDS}`]);
    // Its number is in the sentence that virsh leaves out when it is to be quiet.
    return Number(/\d+/.exec(await this.callOnce(['domfsfreeze', uuid], FREEZE_MS, []))?.[0] ?? 0);
  }

  /** Harmless when nothing is frozen. */
  async thaw(uuid: string): Promise<void> {
    await this.call(['domfsthaw', uuid], FREEZE_MS);
  }

  /** Any other command. @returns what virsh prints */
  async call(argv: readonly string[], deadlineMs = CALL_MS, options: readonly string[] = ['--quiet']): Promise<string> {
    return (await this.run(argv, deadlineMs, options, [0])).stdout;
  }

  /** A command that must not be made again unasked. */
  private async callOnce(argv: readonly string[], deadlineMs: number, options: readonly string[] = ['--quiet']): Promise<string> {
    return (await this.run(argv, deadlineMs, options, [0], false)).stdout;
  }

  /** The answers to the commands, then as many for each checkpoint as are asked of one. */
  private askOfCheckpoints(uuid: string, commands: readonly (readonly string[])[], checkpoints: readonly string[]): Promise<readonly Answer[]> {
    const ask = (): Promise<readonly Answer[]> => this.ask([...commands, ...checkpoints.flatMap((name) => aboutCheckpoint(uuid, name))]);
    return checkpoints.length > 0 ? this.checkpointCalls.runExclusive(uuid, ask) : ask();
  }

  /** Several commands, one after the other, by one process; each is asked whatever became of those before it. @throws LibvirtError when libvirt is away */
  private async ask(commands: readonly (readonly string[])[]): Promise<readonly Answer[]> {
    const separator = randomUUID();
    // 1: a command was refused, which its own answer tells.
    const said = await this.run([batchText(commands, separator)], CALL_MS, ['--quiet'], [0, 1]);
    const answers = splitBatch(said, separator);
    if (answers.length === commands.length) return answers;
    const complaint = withoutPrefix(said.stderr);
    throw new LibvirtError(libvirtErrorCode(complaint), complaint === '' ? 'virsh ended before it had answered.' : complaint);
  }

  private async run(
    argv: readonly string[],
    deadlineMs: number,
    options: readonly string[],
    expectedExitCodes: readonly number[],
    repeatable = true,
  ): Promise<{ readonly stdout: string; readonly stderr: string }> {
    try {
      // A call that waits for libvirt must not begin a backup after the node that made it has died, and the next one has cleaned up.
      return await runTool(['virsh', ...options, '--connect', this.uri, ...argv], { deadlineMs, endsWithUs: true, expectedExitCodes, repeatable });
    } catch (error) {
      if (!(error instanceof ToolError) || error.code === 'tool_missing') throw error;
      if (error.code === 'tool_timeout') {
        throw new LibvirtError('libvirt_silent', `libvirt did not answer "${argv[0] ?? ''}" within ${deadlineMs} ms.`, { cause: error });
      }
      if (error.endedBy === 'SIGKILL')
        throw new LibvirtError('client_killed', `virsh was ended by SIGKILL while it asked libvirt for "${argv[0] ?? ''}".`, { cause: error });
      const said = withoutPrefix(error.stderrTail);
      throw new LibvirtError(libvirtErrorCode(said), said === '' ? error.message : said, { cause: error });
    }
  }
}

/** As many commands as ASKED_OF_CHECKPOINT says. A domain that is off refuses the second. */
function aboutCheckpoint(uuid: string, name: string): readonly (readonly string[])[] {
  return [
    ['checkpoint-dumpxml', uuid, name],
    ['checkpoint-dumpxml', uuid, name, '--size', '--no-domain'],
  ];
}

/** As many commands as ASKED_OF_JOB says. */
function aboutBackupJob(uuid: string): readonly (readonly string[])[] {
  return [
    ['backup-dumpxml', uuid],
    ['domjobinfo', uuid],
  ];
}

function isLost(jobInfo: Answer | undefined): boolean {
  return jobInfo !== undefined && 'error' in jobInfo && /backup job data missing/i.test(jobInfo.error.message);
}

/** @throws LibvirtError for what was refused */
function printed(answer: Answer | undefined): string {
  if (answer === undefined) throw new Error('virsh was not asked');
  if ('error' in answer) throw answer.error;
  return answer.text;
}

/** Of what libvirt will not say now there is nothing to be built on. @throws LibvirtError when it is away */
function measuredIn(answer: Answer | undefined): CheckpointDescription | null {
  if (answer !== undefined && 'error' in answer && answer.error.code !== 'libvirt_unreachable') return null;
  return parseCheckpoint(printed(answer));
}

function socketIn(answer: Answer | undefined): string | null {
  if (answer !== undefined && 'error' in answer) {
    const { code, message } = answer.error;
    if (code === 'domain_not_running' || /no domain backup job|backup job id not found/i.test(message)) return null;
  }
  return parseBackupSocket(printed(answer));
}

function capacitiesIn(stats: string): ReadonlyMap<string, number> {
  const names = new Map<string, string>();
  const sizes = new Map<string, number>();
  for (const line of lines(stats)) {
    const [, index, member, value] = /^\s*block\.(\d+)\.(name|capacity)=(.*)$/.exec(line) ?? [];
    if (index === undefined || value === undefined) continue;
    if (member === 'name') names.set(index, value);
    else sizes.set(index, Number(value));
  }
  const found = new Map<string, number>();
  for (const [index, name] of names) {
    const size = sizes.get(index);
    if (size !== undefined) found.set(name, size);
  }
  return found;
}

function withoutPrefix(stderr: string): string {
  return stderr.trim().replace(/^error: /gm, '');
}

function lines(text: string): readonly string[] {
  return text.split('\n').filter((line) => line.trim() !== '');
}

/** virsh reads documents from files only. */
async function withFiles<Result>(contents: readonly string[], use: (files: readonly string[]) => Promise<Result>): Promise<Result> {
  return withPassingFolder('virsh', async (folder) => {
    const files = await Promise.all(
      contents.map(async (content, index) => {
        const file = join(folder, `${index}.xml`);
        await writeFile(file, content, { mode: 0o600 });
        return file;
      }),
    );
    return use(files);
  });
}
