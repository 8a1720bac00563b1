import { Inject } from '@nestjs/common';
import { CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { Clock } from '../../../../lib/clock/clock.js';
import { HubConfig } from '../../../hub.config.js';
import { CommandRunner, HUB_ID } from '../../../store/event-store/command-runner.js';
import { portsOfSockets } from '../../nbd-servers/export-access.js';
import { PortProbe } from '../../../../lib/nbd/port-probe.js';
import { portDecider } from '../model/carry-over.decide.js';
import { type ReleasedPorts, ReleaseJobPorts } from '../model/nbd-port.commands.js';
import { nbdPortsStream } from '../model/nbd-port.events.js';
import { portsOfJob } from '../model/nbd-port.state.js';
import { decideReleaseJob } from './release-job.decide.js';

const decider = portDecider(decideReleaseJob);

@CommandHandler(ReleaseJobPorts)
export class ReleaseJobHandler implements ICommandHandler<ReleaseJobPorts> {
  constructor(
    private readonly runner: CommandRunner,
    private readonly probe: PortProbe,
    private readonly config: HubConfig,
    private readonly clock: Clock,
    @Inject(HUB_ID) private readonly hubId: string,
  ) {}

  async execute({ jobId, onlyIdle, context }: ReleaseJobPorts): Promise<ReleasedPorts> {
    const stream = nbdPortsStream(this.hubId);
    const inUse = onlyIdle ? await this.portsInUse(stream, jobId) : [];
    const outcome = await this.runner.run(stream, decider, { job_id: jobId, in_use: inUse, at: this.clock.iso() }, context);
    const released = outcome.events.filter((event) => event.type === 'NbdPortReleased').map((event) => event.data.port);
    return { released, position: outcome.position };
  }

  private async portsInUse(stream: string, jobId: string): Promise<readonly number[]> {
    const { state } = await this.runner.load(stream, decider);
    const inUse: number[] = [];
    const { nbdListenHost, runDirectory } = this.config;
    const ofSockets = await portsOfSockets(runDirectory);
    for (const { port } of portsOfJob(state, jobId)) {
      if (ofSockets.has(port) || !(await this.probe.isFree(nbdListenHost, port))) inUse.push(port);
    }
    return inUse;
  }
}
