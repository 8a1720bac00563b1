/** Jobs that hold ports, folded from the events and therefore without lag. Answers with JobPorts[]. */
export class FindJobsWithPorts {}

export interface JobPorts {
  readonly job_id: string;
  readonly ports: readonly number[];
}
