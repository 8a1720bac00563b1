import { Inject } from '@nestjs/common';
import { CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { DomainError } from '../../../../kernel/domain-error.js';
import { Clock } from '../../../../lib/clock/clock.js';
import { HubConfig } from '../../../hub.config.js';
import { CommandRunner, HUB_ID } from '../../../store/event-store/command-runner.js';
import { KeyedMutex } from '../../../../lib/concurrency/keyed-mutex.js';
import { PortProbe } from '../../../../lib/nbd/port-probe.js';
import { portDecider } from '../model/carry-over.decide.js';
import { type AllocatedPorts, AllocatePorts } from '../model/nbd-port.commands.js';
import { nbdPortsStream } from '../model/nbd-port.events.js';
import { allocationOf, type AllocatePortsData, candidatePorts, decideAllocatePorts, missingNames } from './allocate-ports.decide.js';

const decider = portDecider(decideAllocatePorts);

/** Retry delay for an exhausted pool, in seconds: a backup releases its ports together. */
const RETRY_AFTER_SECONDS = 10;

@CommandHandler(AllocatePorts)
export class AllocatePortsHandler implements ICommandHandler<AllocatePorts> {
  /** Two concurrent probes of one port would each find it in use by the other. */
  private readonly probing = new KeyedMutex();

  constructor(
    private readonly runner: CommandRunner,
    private readonly probe: PortProbe,
    private readonly config: HubConfig,
    private readonly clock: Clock,
    @Inject(HUB_ID) private readonly hubId: string,
  ) {}

  async execute(command: AllocatePorts): Promise<AllocatedPorts> {
    return this.probing.runExclusive('pool', () => this.allocate(command));
  }

  private async allocate({ jobId, exportNames, context }: AllocatePorts): Promise<AllocatedPorts> {
    const stream = nbdPortsStream(this.hubId);
    const pool = { first: this.config.nbdPortFirst, count: this.config.nbdPortCount };
    const { state: before } = await this.runner.load(stream, decider);
    const found = await this.look(candidatePorts(before, pool), missingNames(before, jobId, exportNames).length);
    const data: AllocatePortsData = {
      job_id: jobId,
      export_names: exportNames,
      pool,
      found_free: found.free,
      found_occupied: found.occupied,
      at: this.clock.iso(),
    };
    const outcome = await this.runner.run(stream, decider, data, context);
    const allocated = outcome.events.find((event) => event.type === 'NbdPortsAllocated');
    // A repeated command gets its first answer, even after the job has released its ports.
    const ports = allocationOf(outcome.state, jobId, exportNames) ?? allocated?.data.ports ?? null;
    if (ports !== null) return { job_id: jobId, ports, position: outcome.position };
    const shortage = outcome.events.find((event) => event.type === 'NbdPortsExhausted')?.data ?? outcome.state.refused.get(jobId);
    const { wanted, free } = shortage ?? { wanted: exportNames.length, free: found.free.length };
    throw new DomainError(
      'unavailable',
      'nbd_ports_exhausted',
      `Job ${jobId} needs ${wanted} NBD ports, but only ${free} of the pool ${pool.first}-${pool.first + pool.count - 1} are free. Try again when other jobs have ended.`,
      { job_id: jobId, wanted, free, retry_after_seconds: RETRY_AFTER_SECONDS },
    );
  }

  /** Probes candidates in order until enough are free. */
  private async look(candidates: readonly number[], wanted: number): Promise<{ free: number[]; occupied: number[] }> {
    const free: number[] = [];
    const occupied: number[] = [];
    for (const port of candidates) {
      if (free.length === wanted) break;
      ((await this.probe.isFree(this.config.nbdListenHost, port)) ? free : occupied).push(port);
    }
    return { free, occupied };
  }
}
