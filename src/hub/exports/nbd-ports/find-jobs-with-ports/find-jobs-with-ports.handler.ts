import { Inject } from '@nestjs/common';
import { type IQueryHandler, QueryHandler } from '@nestjs/cqrs';
import { CommandRunner, HUB_ID } from '../../../store/event-store/command-runner.js';
import { portDecider } from '../model/carry-over.decide.js';
import { nbdPortsStream } from '../model/nbd-port.events.js';
import { FindJobsWithPorts, type JobPorts } from '../model/nbd-port.queries.js';

const fold = portDecider(() => []);

@QueryHandler(FindJobsWithPorts)
export class FindJobsWithPortsHandler implements IQueryHandler<FindJobsWithPorts, readonly JobPorts[]> {
  constructor(
    private readonly runner: CommandRunner,
    @Inject(HUB_ID) private readonly hubId: string,
  ) {}

  async execute(): Promise<readonly JobPorts[]> {
    const { state } = await this.runner.load(nbdPortsStream(this.hubId), fold);
    const jobs = new Map<string, number[]>();
    for (const [port, { job_id }] of state.held) jobs.set(job_id, [...(jobs.get(job_id) ?? []), port]);
    return [...jobs].map(([job_id, ports]) => ({ job_id, ports }));
  }
}
