import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { bytesText } from '../model/amounts.plan.js';
import { type HubApi, HubRefusalError } from '../model/hub-api.client.js';
import { type Check, fail, type Verdict, warn, worst } from '../model/check.plan.js';

interface Repositories {
  readonly repositories: readonly { readonly repository_id: string; readonly name: string; readonly path: string }[];
}
interface Storage {
  readonly total_bytes: number;
  readonly free_bytes: number;
  readonly restore_points: number;
}

const SCARCE_SHARE = 0.1;
const TOO_SCARCE_BYTES = 1024 ** 3;

/** As the hub finds them, since they lie with the hub. */
export function repositoriesCheck(hub: HubApi): Check {
  return {
    id: 'repositories',
    role: 'hub',
    title: 'repositories, their rights and space',
    run: async () => {
      const { repositories } = (await hub.call<Repositories>('GET', '/repositories?limit=1000')).body;
      if (repositories.length === 0) return warn('there is none', 'Make one: POST /repositories; POST /repositories/test tries a path out.');
      const findings: Verdict[] = [];
      const texts: string[] = [];
      for (const { repository_id, name, path } of repositories) {
        const place = `"${name}" in ${path}`;
        try {
          const { free_bytes, total_bytes, restore_points } = (await hub.call<Storage>('GET', `/repositories/${repository_id}/storage`)).body;
          const text = `${place} has ${bytesText(free_bytes)} of ${bytesText(total_bytes)} free and ${restore_points} restore points`;
          texts.push(text);
          if (free_bytes < TOO_SCARCE_BYTES) findings.push(fail(text, 'Free space or delete restore points: backups into it will fail with repository_full.'));
          else if (free_bytes < total_bytes * SCARCE_SHARE) findings.push(warn(text, 'Give it more space soon, or delete restore points.'));
        } catch (error) {
          if (!(error instanceof HubRefusalError)) throw error;
          findings.push(fail(`${place} cannot be used: ${error.message}`, 'Is it mounted? May the hub read and write there?'));
          continue;
        }
        if (!(await mayWrite(path)))
          findings.push(fail(`${place} cannot be written to by this user`, 'Give it to the user that the hub runs as; is it mounted read-only?'));
      }
      return worst(findings, texts.join('; '));
    },
  };
}

async function mayWrite(path: string): Promise<boolean> {
  return access(path, constants.R_OK | constants.W_OK | constants.X_OK).then(
    () => true,
    () => false,
  );
}
