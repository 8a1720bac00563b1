import { randomUUID } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { KeyedMutex } from '../../lib/concurrency/keyed-mutex.js';
import { withTemporaryDirectory } from '../../lib/process/temporary-directory.js';
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
/** libvirt makes scratch files and bitmaps for every disk, and the guest may be frozen in the meantime. */
const BEGIN_MS = 60_000;
const FREEZE_MS = 60_000;
/** How long libvirt itself waits for the guest agent, in seconds. */
const AGENT_SECONDS = 10;
const ASKED_OF_CHECKPOINT = 2;
const ASKED_OF_JOB = 2;
/** An argument list has a maximum length. */
const DOMAINS_PER_CALL = 50;
/** Each takes about a millisecond, less than starting the client again. */
const LOOKS_AFTER_ABORT = 10;

export type DomainState = 'running' | 'paused' | 'shut_off' | 'crashed' | 'other';

/** Output of `virsh domstate`. A domain that is shutting down, idle or blocked is still running. */
const STATES: Readonly<Record<string, DomainState>> = {
  running: 'running',
  idle: 'running',
  'in shutdown': 'running',
  paused: 'paused',
  pmsuspended: 'paused',
  'shut off': 'shut_off',
  crashed: 'crashed',
};

/** libvirt's description of one checkpoint. */
export interface InspectedCheckpoint {
  /** Includes the domain as it was at the checkpoint. */
  readonly described: CheckpointDescription;
  /** Includes the changed bytes of each disk whose bitmap qemu has and trusts, without the domain. null: libvirt could not measure it, or the domain is off. */
  readonly measured: CheckpointDescription | null;
}

/** A domain as described by libvirt. */
export interface DomainInspection {
  readonly domain: DomainDescription;
  /** The XML for its next start. */
  readonly definition: string;
  readonly state: DomainState;
  /** The requested checkpoints that exist, in libvirt's order. */
  readonly checkpoints: readonly InspectedCheckpoint[];
  /** Virtual sizes in bytes by target, of the disks whose size libvirt knows. Empty if the domain is off. */
  readonly capacities: ReadonlyMap<string, number>;
  readonly backupJob: BackupJobState;
}

/**
 * The backup job of a domain. `lost`: libvirt was killed while the job began, and holds the domain for a job it no longer knows: it can neither end that job
 * nor begin another one until the domain's qemu has ended.
 */
export interface BackupJobState {
  /** The socket the job serves on; null: no job runs, or it serves elsewhere. */
  readonly socket: string | null;
  readonly lost: boolean;
}

/**
 * libvirt through its own client program, one process per call; every call may be repeated. Domains are addressed by uuid.
 *
 * Every method throws LibvirtError if libvirt refuses, is unreachable or does not answer in time, and ToolError `tool_missing` without virsh.
 */
export class Virsh {
  /** libvirtd (9.0) crashes if a checkpoint of a domain is deleted while it measures one of the same domain, so these calls never overlap. */
  private readonly checkpointCalls = new KeyedMutex();
  /**
   * By uuid: the checkpoints that a domain last had or has received since. They are queried together with the list of existing ones, because starting the
   * client takes most of the time.
   */
  private readonly expected = new Map<string, readonly string[]>();

  constructor(private readonly uri: string) {}

  /** uuids of all domains, running or not. */
  async domains(): Promise<readonly string[]> {
    return lines(await this.call(['list', '--all', '--uuid']));
  }

  async state(uuid: string): Promise<DomainState> {
    return STATES[(await this.call(['domstate', uuid])).trim()] ?? 'other';
  }

  /** Whether qemu paused the guest because a disk request failed, and holds the request. */
  async isStoppedByIoError(uuid: string): Promise<boolean> {
    return (await this.call(['domstate', uuid, '--reason'])).trim() === 'paused (I/O error)';
  }

  async resume(uuid: string): Promise<void> {
    await this.call(['resume', uuid]);
  }

  /** inactive: the XML for its next start, which may differ from the running one. Never includes secrets. */
  async domainXml(uuid: string, options: { readonly inactive: boolean }): Promise<string> {
    return this.call(['dumpxml', ...(options.inactive ? ['--inactive'] : []), uuid]);
  }

  async describe(uuid: string, options: { readonly inactive: boolean }): Promise<DomainDescription> {
    return parseDomain(await this.domainXml(uuid, options));
  }

  /** Takes one process if the domain's checkpoints are as expected, and two otherwise. @param isWanted selects checkpoints by name */
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

  /** Makes the next inspection query the checkpoint in its first call. */
  expectCheckpoint(uuid: string, name: string): void {
    this.expected.set(uuid, [...(this.expected.get(uuid) ?? []), name]);
  }

  /** Path of a volume of a storage pool. */
  async volumePath(pool: string, volume: string): Promise<string> {
    return (await this.call(['vol-path', '--pool', pool, '--vol', volume])).trim();
  }

  /** The domain as it was at each of its snapshots in libvirt. */
  async snapshotDomains(uuid: string): Promise<readonly DomainDescription[]> {
    const names = lines(await this.call(['snapshot-list', uuid, '--name']));
    if (names.length === 0) return [];
    const answers = await this.ask(names.map((name) => ['snapshot-dumpxml', uuid, name]));
    return answers.map((answer) => parseSnapshotDomain(printed(answer))).filter((domain) => domain !== null);
  }

  async checkpoints(uuid: string): Promise<readonly string[]> {
    return lines(await this.call(['checkpoint-list', uuid, '--name']));
  }

  /** Checkpoints without children; a new checkpoint becomes the child of one of them. */
  async leafCheckpoints(uuid: string): Promise<readonly string[]> {
    return lines(await this.call(['checkpoint-list', uuid, '--leaves', '--name']));
  }

  /** metadataOnly: libvirt forgets it, and its bitmaps stay. Otherwise the domain must be running. */
  async deleteCheckpoint(uuid: string, name: string, options: { readonly metadataOnly: boolean }): Promise<void> {
    const argv = ['checkpoint-delete', uuid, name, ...(options.metadataOnly ? ['--metadata'] : [])];
    await this.checkpointCalls.runExclusive(uuid, () => this.call(argv, DELETE_MS));
  }

  /** Registers a checkpoint with libvirt whose bitmaps already exist, or which is to be deleted as if they did. */
  async redefineCheckpoint(uuid: string, xml: string): Promise<void> {
    await withFiles([xml], ([file = '']) => this.checkpointCalls.runExclusive(uuid, () => this.call(['checkpoint-create', uuid, file, '--redefine'])));
  }

  /**
   * Begins a backup together with a checkpoint at the same instant; all or nothing. The scratch files must exist and be empty: a qemu (7.2) that creates them
   * itself dies of a failed assertion in `qcow2_get_specific_info` if its disks are queried at that moment, and its guest with it.
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

  /** The jobs of all running domains, by uuid; takes two processes, however many domains there are. */
  async backupJobs(): Promise<ReadonlyMap<string, BackupJobState>> {
    const uuids = lines(await this.call(['list', '--uuid']));
    const found = new Map<string, BackupJobState>();
    for (let first = 0; first < uuids.length; first += DOMAINS_PER_CALL) {
      const some = uuids.slice(first, first + DOMAINS_PER_CALL);
      const answers = await this.ask(some.flatMap(aboutBackupJob));
      for (const [index, uuid] of some.entries()) {
        const [job, jobInfo] = answers.slice(index * ASKED_OF_JOB);
        // A domain that has disappeared since has none.
        if (job !== undefined && 'error' in job && job.error.code === 'domain_not_found') continue;
        found.set(uuid, { socket: socketIn(job), lost: isLost(jobInfo) });
      }
    }
    return found;
  }

  /**
   * Ends any job on the domain. May return before it has ended. @returns the socket as `backupJob`, after several immediate polls, the first of which mostly
   * come too early
   */
  async abortJob(uuid: string): Promise<string | null> {
    const looks = Array.from({ length: LOOKS_AFTER_ABORT }, () => ['backup-dumpxml', uuid]);
    const answers = await this.ask([['domjobabort', uuid], ...looks]);
    printed(answers[0]);
    return socketIn(answers.at(-1));
  }

  /** Freezes all file systems of the guest. @returns how many */
  async freeze(uuid: string): Promise<number> {
    await this.call(['guest-agent-timeout', uuid, '--timeout', `${AGENT_SECONDS}`]);
    // virsh prints the number only in the sentence that --quiet suppresses.
    return Number(/\d+/.exec(await this.callOnce(['domfsfreeze', uuid], FREEZE_MS, []))?.[0] ?? 0);
  }

  /** A no-op if nothing is frozen. */
  async thaw(uuid: string): Promise<void> {
    await this.call(['domfsthaw', uuid], FREEZE_MS);
  }

  /** Any other command. @returns the output of virsh */
  async call(argv: readonly string[], deadlineMs = CALL_MS, options: readonly string[] = ['--quiet']): Promise<string> {
    return (await this.run(argv, deadlineMs, options, [0])).stdout;
  }

  /** Runs a command that must not be retried automatically. */
  private async callOnce(argv: readonly string[], deadlineMs: number, options: readonly string[] = ['--quiet']): Promise<string> {
    return (await this.run(argv, deadlineMs, options, [0], false)).stdout;
  }

  /** Returns the answers to the commands, followed by those for each checkpoint. */
  private askOfCheckpoints(uuid: string, commands: readonly (readonly string[])[], checkpoints: readonly string[]): Promise<readonly Answer[]> {
    const ask = (): Promise<readonly Answer[]> => this.ask([...commands, ...checkpoints.flatMap((name) => aboutCheckpoint(uuid, name))]);
    return checkpoints.length > 0 ? this.checkpointCalls.runExclusive(uuid, ask) : ask();
  }

  /** Runs several commands in one process, each regardless of the outcome of those before it. @throws LibvirtError if libvirt is unreachable */
  private async ask(commands: readonly (readonly string[])[]): Promise<readonly Answer[]> {
    const separator = randomUUID();
    // Exit code 1: a command was refused; its own answer has the reason.
    const said = await this.run([batchText(commands, separator)], CALL_MS, ['--quiet'], [0, 1]);
    const answers = splitBatch(said, separator);
    if (answers.length === commands.length) return answers;
    const complaint = withoutPrefix(said.stderr);
    throw new LibvirtError(libvirtErrorCode(complaint), complaint === '' ? 'virsh exited before it had answered.' : complaint);
  }

  private async run(
    argv: readonly string[],
    deadlineMs: number,
    options: readonly string[],
    expectedExitCodes: readonly number[],
    repeatable = true,
  ): Promise<{ readonly stdout: string; readonly stderr: string }> {
    try {
      // A call that waits for libvirt must not begin a backup after its node has died and the next one has cleaned up.
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

/** Returns ASKED_OF_CHECKPOINT commands. libvirt refuses the second if the domain is off. */
function aboutCheckpoint(uuid: string, name: string): readonly (readonly string[])[] {
  return [
    ['checkpoint-dumpxml', uuid, name],
    ['checkpoint-dumpxml', uuid, name, '--size', '--no-domain'],
  ];
}

/** Returns ASKED_OF_JOB commands. */
function aboutBackupJob(uuid: string): readonly (readonly string[])[] {
  return [
    ['backup-dumpxml', uuid],
    ['domjobinfo', uuid],
  ];
}

function isLost(jobInfo: Answer | undefined): boolean {
  return jobInfo !== undefined && 'error' in jobInfo && /backup job data missing/i.test(jobInfo.error.message);
}

/** @throws LibvirtError for a refusal */
function printed(answer: Answer | undefined): string {
  if (answer === undefined) throw new Error('virsh was not queried');
  if ('error' in answer) throw answer.error;
  return answer.text;
}

/** A refused measurement means that the checkpoint cannot be relied on. @throws LibvirtError if libvirt is unreachable */
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

/** virsh reads documents only from files. */
async function withFiles<Result>(contents: readonly string[], use: (files: readonly string[]) => Promise<Result>): Promise<Result> {
  return withTemporaryDirectory('virsh', async (folder) => {
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
