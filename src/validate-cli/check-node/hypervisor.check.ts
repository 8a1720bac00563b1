import type { NodeConfig } from '../../platform/config/node.config.js';
import { runTool, type ToolOutput } from '../../platform/process/run-tool.js';
import { ToolError } from '../../platform/process/tool-error.js';
import { type Check, fail, pass, skip } from '../model/check.plan.js';

const CALL_MS = 20_000;

/** Whether the node may see the domains of its libvirt and change them: a backup of a running one is a job of libvirt. */
export function hypervisorCheck(config: NodeConfig): Check {
  const uri = config.libvirtUri;
  return {
    id: 'hypervisor',
    role: 'node',
    title: 'rights at the hypervisor',
    run: async () => {
      if (uri === '') return skip('libvirt_uri is empty: this node backs up images only');
      const full = await virsh(['-c', uri]);
      if (full instanceof ToolError) {
        if (full.code === 'tool_missing') return fail('virsh is not on the PATH', 'apt-get install libvirt-clients');
        const readOnly = await virsh(['-r', '-c', uri]);
        if (!(readOnly instanceof ToolError)) {
          return fail(
            `${uri} may be read by this user but not changed`,
            'Put the user that the node runs as into the group libvirt, and start the node again.',
          );
        }
        return fail(
          `${uri} cannot be connected to: ${full.stderrTail.trim()}`,
          'Start libvirtd, set libvirt_uri right, and let the user that the node runs as use it.',
        );
      }
      const { stdout } = await runTool(['virsh', '-c', uri, 'version'], { deadlineMs: CALL_MS });
      const versions = [...stdout.matchAll(/^(?:Using library|Running hypervisor): (.*)$/gm)].map(([, version]) => version ?? '');
      const count = full.stdout.split('\n').filter((line) => line.trim() !== '').length;
      return pass(`${count} domain(s) at ${uri}, with the right to change them (${versions.join(', ')})`);
    },
  };
}

async function virsh(connection: readonly string[]): Promise<ToolOutput | ToolError> {
  try {
    return await runTool(['virsh', ...connection, 'list', '--all', '--uuid'], { deadlineMs: CALL_MS });
  } catch (error) {
    if (error instanceof ToolError) return error;
    throw error;
  }
}
