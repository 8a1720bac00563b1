import { bytesText } from '../../../kernel/bytes-text.js';
import type { Repository, RepositoryStorage } from '../../api/answers.js';
import { type HubApi, HubRefusalError } from '../../api/hub-api.client.js';
import { type Check, fail, type Verdict, warn, worst } from '../model/check.plan.js';
import type { ServiceView } from '../model/service-view.access.js';

const SCARCE_SHARE = 0.1;
const TOO_SCARCE_BYTES = 1024 ** 3;

/** As the hub sees them, since they are on the hub's machine. */
export function repositoriesCheck(hub: HubApi, service: ServiceView): Check {
  return {
    id: 'repositories',
    role: 'hub',
    title: 'repositories, their permissions and space',
    run: async () => {
      const { repositories } = await hub.call<{ repositories: Repository[] }>('GET', '/repositories?limit=1000');
      if (repositories.length === 0) return warn('there are no repositories', 'Create one: POST /repositories; POST /repositories/test tests a path.');
      const findings: Verdict[] = [];
      const texts: string[] = [];
      for (const { repository_id, name, type, path } of repositories) {
        const place = `"${name}" in ${path}`;
        try {
          const { free_bytes, total_bytes, restore_points } = await hub.call<RepositoryStorage>('GET', `/repositories/${repository_id}/storage`);
          const text = `${place} has ${bytesText(free_bytes)} of ${bytesText(total_bytes)} free and ${restore_points} restore points`;
          texts.push(text);
          findings.push(...spaceFindings(text, free_bytes, total_bytes));
        } catch (error) {
          if (!(error instanceof HubRefusalError)) throw error;
          findings.push(
            fail(
              `${place} cannot be used: ${error.message}`,
              type === 'local'
                ? `Is it mounted (findmnt -T ${path})? May the hub read and write there (ls -ld ${path})?`
                : 'The hub mounts the share as soon as its server answers. Why it is not mounted is in the log of the hub (journalctl -u sendense-hub).',
            ),
          );
          continue;
        }
        if (!(await service.mayUse(path, 'write'))) {
          const remedy =
            `Is it mounted read-only (findmnt -T ${path})? Otherwise make the hub's user its owner (chown USER ${path}), ` +
            `and add it to the unit: ReadWritePaths=${path} in a drop-in (systemctl edit sendense-hub).`;
          findings.push(fail(`${place} cannot be written to by the hub`, remedy));
        }
      }
      return worst(findings, texts.join('; '));
    },
  };
}

/** @param text the measurement in words */
export function spaceFindings(text: string, freeBytes: number, totalBytes: number): readonly Verdict[] {
  if (freeBytes < TOO_SCARCE_BYTES) {
    return [fail(text, 'Free space, or delete restore points (DELETE /backups/{id}): backups into it will fail with repository_full.')];
  }
  if (freeBytes < totalBytes * SCARCE_SHARE) return [warn(text, 'Give it more space soon, or delete restore points (DELETE /backups/{id}).')];
  return [];
}
