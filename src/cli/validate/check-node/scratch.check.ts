import { access, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { NodeConfig } from '../../../node/node.config.js';
import { bytesText } from '../../../kernel/bytes-text.js';
import { type Check, fail, pass, skip, warn } from '../model/check.plan.js';
import type { ServiceView } from '../model/service-view.access.js';

/** The path of a socket that qemu creates there must fit within the limit for socket paths. */
const LONGEST_PATH_BYTES = 80;

/** The directory for data that running guests overwrite during their backup. */
export function scratchCheck(config: NodeConfig, service: ServiceView): Check {
  const { libvirtScratchDirectory: directory, libvirtScratchMaxBytes: bound } = config;
  return {
    id: 'scratch_space',
    role: 'node',
    title: 'scratch space for running guests',
    run: async () => {
      if (config.libvirtUri === '') return skip('libvirt_uri is empty');
      if (Buffer.byteLength(directory) > LONGEST_PATH_BYTES) {
        return fail(`${directory} is too long a path for the sockets in it`, `Set libvirt_scratch_directory to a path of at most ${LONGEST_PATH_BYTES} bytes.`);
      }
      const place = await existingPart(directory);
      if (!(await service.mayUse(place, 'write'))) {
        return fail(
          `${place} cannot be written to by the node`,
          `install -d -o libvirt-qemu -g libvirt-qemu -m 0770 ${directory}, and let the node write there: ReadWritePaths=${directory} in a drop-in (systemctl edit sendense-node).`,
        );
      }
      const { bavail, bsize } = await statfs(place);
      const free = bavail * bsize;
      const text = `${bytesText(free)} free for ${directory}; one backup may take ${bytesText(bound)}`;
      if (free < bound) return warn(text, 'Give libvirt_scratch_directory more space, or lower libvirt_scratch_max_bytes: a backup that needs more fails.');
      return pass(text);
    },
  };
}

/** The node creates the rest of the path on first use. */
async function existingPart(directory: string): Promise<string> {
  for (let part = directory; ; part = dirname(part)) {
    const isThere = await access(part).then(
      () => true,
      () => false,
    );
    if (isThere || part === dirname(part)) return part;
  }
}
