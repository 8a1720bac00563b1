import { Inject } from '@nestjs/common';
import { CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { Clock } from '../../../../lib/clock/clock.js';
import { HubConfig } from '../../../hub.config.js';
import { CommandRunner, HUB_ID } from '../../../store/event-store/command-runner.js';
import { portsOfSockets } from '../../nbd-servers/export-access.js';
import { PortProbe } from '../../../../lib/nbd/port-probe.js';
import { portDecider } from '../model/carry-over.decide.js';
import { ReleasePort, type ReleasedPorts } from '../model/nbd-port.commands.js';
import { nbdPortsStream } from '../model/nbd-port.events.js';
import { decideReleasePort } from './release-port.decide.js';

const decider = portDecider(decideReleasePort);

@CommandHandler(ReleasePort)
export class ReleasePortHandler implements ICommandHandler<ReleasePort> {
  constructor(
    private readonly runner: CommandRunner,
    private readonly probe: PortProbe,
    private readonly config: HubConfig,
    private readonly clock: Clock,
    @Inject(HUB_ID) private readonly hubId: string,
  ) {}

  async execute({ port, context }: ReleasePort): Promise<ReleasedPorts> {
    const stream = nbdPortsStream(this.hubId);
    const { state } = await this.runner.load(stream, decider);
    // Only a held port needs a check, and only the sockets themselves are authoritative.
    const { nbdListenHost, runDirectory } = this.config;
    const inUse = state.held.has(port) && ((await portsOfSockets(runDirectory)).has(port) || !(await this.probe.isFree(nbdListenHost, port)));
    const outcome = await this.runner.run(stream, decider, { port, in_use: inUse, at: this.clock.iso() }, context);
    return { released: [port], position: outcome.position };
  }
}
