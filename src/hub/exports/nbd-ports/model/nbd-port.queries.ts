/** Which jobs hold ports, by the events themselves and so without any lag. Answers with JobPorts[]. */
export class FindJobsWithPorts {}

export interface JobPorts {
  readonly job_id: string;
  readonly ports: readonly number[];
}
