import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { retry } from '../../lib/concurrency/retry.js';
import { DomainError } from '../../kernel/domain-error.js';
import { messageOf } from '../../kernel/error-message.js';
import { derivedId } from '../../lib/clock/clock.js';
import { WrongShapeError } from '../../lib/json-shape/json-shape.js';
import type { LibvirtDomains } from '../libvirt/libvirt-domains.js';
import { checkedDomain, type RestoredDisk } from '../../lib/libvirt/restored-domain.plan.js';
import { loggerFor } from '../../lib/logging/logger.js';
import { NbdConnection } from '../transfers/nbd-connection.js';
import type { NbdInfo } from '../../lib/nbd/nbd-info.js';
import { parseExportUri, parseNbdAddress, PSK_FILE, pskFileText } from '../../lib/nbd/nbd-uri.js';
import type { NodeBootCheckArtefacts, NodeBootCheckReport, NodeStartBootCheck } from '../../contract/boot-check.js';
import type { NodeDefinitionChange } from '../../contract/vm-definition.js';
import { ifThere } from '../../lib/files/if-there.js';
import { ToolError } from '../../lib/process/tool-error.js';
import { writeFileDurably } from '../../lib/files/durable-write.js';
import { makeSocketDirectory, removeSocketDirectory } from '../../lib/process/socket-place.js';
import type { GuestDisks } from '../guest-disks/guest-disks.service.js';
import { reachedExport } from '../model/served-disks.js';
import { SerialConsole } from './serial-console.js';

const LOOK_MS = 250;
const STATE_MS = 1_000;
const AGENT_MS = 2_000;
const REMOVE_RETRY_MS = 2_000;
const NBD_DEADLINE_MS = 15_000;
/** How long qemu may take to deliver the rest of the serial output after the guest has ended. */
const LAST_WORDS_MS = 5_000;
/** Larger screenshots would not fit into a response. */
const MAX_SCREENSHOT_BYTES = 4 * 1024 * 1024;
const PNG = Buffer.from([0x89, 0x50, 0x4e, 0x47]);

/** The persistent record of a check, `check.json`. */
export interface BootCheckRecord {
  readonly format: 1;
  readonly request: NodeStartBootCheck;
  readonly report: NodeBootCheckReport;
  /** Intent: the domain may exist from here on. */
  readonly creating: boolean;
}

export interface BootCheckDependencies {
  readonly domains: LibvirtDomains;
  readonly nbdInfo: NbdInfo;
  readonly guestDisks: GuestDisks;
  /** Directory of the tunnel to the hub, if there is one. */
  readonly tunnelDirectory: string;
  /** Directory of the checks' sockets. */
  readonly runDirectory: string;
}

type Verdict = Pick<NodeBootCheckReport, 'status' | 'sign' | 'detail' | 'error'>;

/**
 * Starts the disks of a restore point in a domain that exists only while it runs, and watches for a sign of life. A check interrupted by a restart of the node
 * is not resumed, because its console output in the meantime is lost.
 */
export class BootCheck {
  private readonly logger = loggerFor('BootCheck');
  private readonly stopping = new AbortController();
  private running: Promise<void> = Promise.resolve();
  private readonly uuid: string;

  constructor(
    private record: BootCheckRecord,
    private readonly folder: string,
    private readonly dependencies: BootCheckDependencies,
  ) {
    this.uuid = derivedId(`boot-check/${record.request.check_id}`);
  }

  get request(): NodeStartBootCheck {
    return this.record.request;
  }

  get report(): NodeBootCheckReport {
    return this.record.report;
  }

  get finished(): boolean {
    return this.record.report.status !== 'running';
  }

  /** Nothing else happens before this is durable. @param keys of the exports, in the order of the disks; null: the export needs none */
  async create(keys: readonly (string | null)[]): Promise<void> {
    await mkdir(this.folder, { recursive: true, mode: 0o700 });
    for (const [index, key] of keys.entries()) {
      if (key === null) continue;
      await mkdir(dirname(this.keyFile(index)), { recursive: true, mode: 0o700 });
      await writeFileDurably(this.keyFile(index), pskFileText(key), 0o600);
    }
    await this.write();
  }

  /** Returns immediately. */
  start(): void {
    this.running = this.run();
  }

  /** Ends a check that was started before a restart of the node. Returns immediately. */
  giveUp(): void {
    this.stopping.abort();
    this.running = this.end(failed('check_interrupted', 'The node was restarted while the guest was booting.'), 0, []);
  }

  /** Powers the guest off, and returns once it is gone. */
  async stop(): Promise<void> {
    this.stopping.abort();
    await this.running;
  }

  /** Leaves the guest running; the next start of the node ends it. */
  detach(): void {
    this.stopping.abort();
  }

  async artefacts(): Promise<NodeBootCheckArtefacts> {
    const [text, picture, problem] = await Promise.all([
      contentOf(this.file('console')),
      contentOf(this.file('screenshot')),
      contentOf(this.file('screenshot-problem')),
    ]);
    return {
      console_base64: (text ?? Buffer.alloc(0)).toString('base64'),
      screenshot_base64: picture?.toString('base64') ?? null,
      screenshot_type: picture === null ? null : picture.subarray(0, PNG.length).equals(PNG) ? 'image/png' : 'image/x-portable-pixmap',
      screenshot_problem: picture === null ? (problem?.toString('utf8') ?? 'The guest did not run.') : null,
    };
  }

  private async run(): Promise<void> {
    const changes: NodeDefinitionChange[] = [];
    const ways: NbdConnection[] = [];
    const losses: Error[] = [];
    let serial: SerialConsole | null = null;
    let verdict: Verdict;
    let startedAt = performance.now();
    try {
      for (const [index, disk] of this.request.disks.entries()) {
        const uri = await reachedExport(disk.uri, this.keyFile(index), this.dependencies.tunnelDirectory);
        await this.checkExport(disk, uri);
        const way = await this.holdOpen(uri);
        ways.push(way);
        void way.ended.then((cause) => losses.push(cause));
      }
      const guestDisks = this.request.disks.map(({ uri }, index) => ({ uri, keyFile: this.keyFile(index) }));
      await this.dependencies.guestDisks.open(this.request.check_id, guestDisks, this.stopping.signal);
      const sockets = await makeSocketDirectory(this.socketPlace);
      const { xml, changes: made } = this.definition(join(sockets, 'console'));
      changes.push(...made);
      await writeFile(this.file('domain.xml'), xml, { mode: 0o600 });
      // If libvirt cannot be reached, it cannot create the domain either, and there is nothing to remove.
      await this.dependencies.domains.state(this.uuid);
      this.record = { ...this.record, creating: true };
      await this.write();
      await this.dependencies.domains.createPaused(this.file('domain.xml'));
      serial = await SerialConsole.open(join(sockets, 'console'), this.request.console_text);
      await this.dependencies.domains.resume(this.uuid);
      startedAt = performance.now();
      verdict = await this.watch(serial, startedAt);
      await this.takePicture();
    } catch (error) {
      verdict = failureOf(error);
      if (verdict.error?.code === 'internal_error') this.logger.error('a boot check failed unexpectedly', { check_id: this.request.check_id, error });
    }
    const seconds = (performance.now() - startedAt) / 1000;
    // A silent guest that lost its disks says nothing about the restore point. The hub repeats an interrupted check.
    if (verdict.status === 'not_booted' && losses.length > 0) {
      verdict = failed('check_interrupted', `The connection to the disks at the hub was lost while the guest was booting. ${verdict.detail}`);
    }
    for (const way of ways) way.close();
    serial?.close();
    await writeFile(this.file('console'), serial?.content() ?? '', { mode: 0o600 });
    await this.end(verdict, seconds, changes);
  }

  /** Reports the verdict only once the guest is gone. */
  private async end(verdict: Verdict, seconds: number, changes: readonly NodeDefinitionChange[]): Promise<void> {
    if (this.record.creating) {
      await retry(() => this.dependencies.domains.remove(this.uuid), {
        firstMs: REMOVE_RETRY_MS,
        onFailure: (error) => this.logger.error('the guest of a boot check could not be removed; retrying', { check_id: this.request.check_id, error }),
      });
    }
    await this.dependencies.guestDisks.close(this.request.check_id);
    await removeSocketDirectory(this.socketPlace);
    this.record = { ...this.record, report: { ...this.record.report, ...verdict, seconds: Math.round(seconds * 10) / 10, changes } };
    await this.write();
  }

  private async watch(serial: SerialConsole, startedAt: number): Promise<Verdict> {
    const { console_text: wanted, guest_agent: agent, timeout_seconds: timeout } = this.request;
    const { domains } = this.dependencies;
    const asked = new AbortController();
    const agentSeen = new AbortController();
    const asking = agent ? this.askAgent(asked.signal, () => agentSeen.abort()) : Promise.resolve();
    let nextState = 0;
    try {
      for (;;) {
        this.stopping.signal.throwIfAborted();
        if (serial.hasShownIt()) return booted('console_text', `The console has shown "${wanted ?? ''}".`);
        if (agentSeen.signal.aborted) return booted('guest_agent', 'The guest agent has answered.');
        const now = performance.now();
        if (now - startedAt > timeout * 1000) {
          return notBooted(`There was no sign of life within ${timeout} s: ${signsOf(this.request)}.`);
        }
        if (now >= nextState) {
          nextState = now + STATE_MS;
          const state = await domains.state(this.uuid);
          if (state === null || state === 'shut off' || state === 'crashed') {
            await Promise.race([serial.closed(), pause(LAST_WORDS_MS)]);
            if (serial.hasShownIt()) return booted('console_text', `The console has shown "${wanted ?? ''}".`);
            return notBooted(`The guest has ended before it gave a sign of life: ${signsOf(this.request)}.`);
          }
          if (state === 'paused') return notBooted('The hypervisor paused the guest, as it does after a disk error.');
        }
        await pause(LOOK_MS);
      }
    } finally {
      asked.abort();
      await asking;
    }
  }

  private async askAgent(signal: AbortSignal, answered: () => void): Promise<void> {
    while (!signal.aborted) {
      try {
        if (await this.dependencies.domains.agentAnswers(this.uuid)) {
          answered();
          return;
        }
      } catch (error) {
        this.logger.warn('the guest agent could not be queried', { check_id: this.request.check_id, error });
      }
      await pause(AGENT_MS, undefined, { signal }).catch(() => undefined);
    }
  }

  /** A guest that has ended has no screenshot. */
  private async takePicture(): Promise<void> {
    try {
      await this.dependencies.domains.screenshot(this.uuid, this.file('screenshot'));
      const { length } = (await contentOf(this.file('screenshot'))) ?? { length: 0 };
      if (length <= MAX_SCREENSHOT_BYTES) return;
      await rm(this.file('screenshot'));
      await writeFile(this.file('screenshot-problem'), `The screenshot has ${length} bytes, more than ${MAX_SCREENSHOT_BYTES}.`);
    } catch (error) {
      await rm(this.file('screenshot'), { force: true });
      await writeFile(this.file('screenshot-problem'), messageOf(error));
    }
  }

  private definition(consoleSocket: string): ReturnType<typeof checkedDomain> {
    const { definition, disks, check_id: jobId, memory_mib: memoryMib } = this.request;
    try {
      return checkedDomain(definition.text, {
        name: `sendense-boot-check-${jobId.slice(-12)}`,
        uuid: this.uuid,
        jobId,
        disks: new Map(
          disks.map(({ disk_key, uri }, index): [string, RestoredDisk] => [
            disk_key,
            { kind: 'nbd', socket: this.dependencies.guestDisks.socket(jobId, index), exportName: parseExportUri(uri).exportName },
          ]),
        ),
        consoleSocket,
        memoryMib,
      });
    } catch (error) {
      if (error instanceof WrongShapeError) throw new DomainError('invalid', 'definition_broken', `The definition of the VM cannot be used: ${error.message}.`);
      throw error;
    }
  }

  /** An idle connection over the same route as the guest's own, which is lost when the route is. */
  private async holdOpen(uri: string): Promise<NbdConnection> {
    const { address, exportName } = parseNbdAddress(uri);
    return NbdConnection.open(address, exportName, AbortSignal.any([this.stopping.signal, AbortSignal.timeout(NBD_DEADLINE_MS)]));
  }

  private async checkExport({ disk_key, size_bytes }: NodeStartBootCheck['disks'][number], uri: string): Promise<void> {
    const size = await this.dependencies.nbdInfo.size(uri, NBD_DEADLINE_MS).catch((error: unknown) => {
      if (!(error instanceof ToolError) || error.code === 'tool_missing') throw error;
      throw new DomainError('unavailable', 'export_unreachable', `The node cannot read disk ${disk_key} at ${uri}: ${error.stderrTail.trim()}`, { disk_key });
    });
    if (size !== size_bytes)
      throw new DomainError('conflict', 'export_differs', `Disk ${disk_key} at ${uri} has ${size} bytes instead of ${size_bytes}.`, { disk_key });
  }

  private async write(): Promise<void> {
    await writeFileDurably(this.file('check.json'), JSON.stringify(this.record), 0o600);
  }

  private get socketPlace(): string {
    return join(this.dependencies.runDirectory, this.request.check_id, 'console');
  }

  /** Uses the file name that qemu looks for. */
  private keyFile(index: number): string {
    return this.file(join(`disk-${index}`, PSK_FILE));
  }

  private file(name: string): string {
    return join(this.folder, name);
  }
}

export function newBootCheck(request: NodeStartBootCheck): BootCheckRecord {
  const report: NodeBootCheckReport = { check_id: request.check_id, status: 'running', sign: null, detail: '', seconds: 0, changes: [], error: null };
  return { format: 1, request, report, creating: false };
}

function signsOf({ console_text: text, guest_agent: agent }: NodeStartBootCheck): string {
  return [...(text === null ? [] : [`the console did not show "${text}"`]), ...(agent ? ['the guest agent did not answer'] : [])].join(', ');
}

function booted(sign: 'console_text' | 'guest_agent', detail: string): Verdict {
  return { status: 'booted', sign, detail, error: null };
}

function notBooted(detail: string): Verdict {
  return { status: 'not_booted', sign: null, detail, error: null };
}

function failed(code: string, detail: string): Verdict {
  return { status: 'failed', sign: null, detail, error: { code, detail } };
}

function failureOf(error: unknown): Verdict {
  if (error instanceof DomainError || error instanceof ToolError) return failed(error.code, error.message);
  if (error instanceof Error && error.name === 'AbortError') return failed('check_interrupted', 'The check was stopped.');
  return failed('internal_error', messageOf(error));
}

function contentOf(path: string): Promise<Buffer | null> {
  return ifThere(readFile(path));
}
