import type { NodeConfig } from '../../../node/node.config.js';
import { runTool, type ToolOutput } from '../../../lib/process/run-tool.js';
import { ToolError } from '../../../lib/process/tool-error.js';
import { type Check, fail, pass, skip } from '../model/check.plan.js';
import type { ServiceView } from '../model/service-view.access.js';

const CALL_MS = 20_000;
const LIST = ['list', '--all', '--uuid'] as const;
/** libvirt allows this only with write access, but it changes nothing: there is no such format. */
const HARMLESS_CHANGE = ['domxml-to-native', 'no-such-format', '/dev/null'] as const;
/** libvirt's read-only socket accepts a read-write connection and then refuses changes: virCheckReadOnlyGoto of libvirt's API. */
const READ_ONLY = /read.only access|forbidden/i;

/** Whether the node may see and change the domains of its libvirt: backing up a running domain is a libvirt job. */
export function hypervisorCheck(config: NodeConfig, service: ServiceView): Check {
  const uri = config.libvirtUri;
  return {
    id: 'hypervisor',
    role: 'node',
    title: 'permissions at the hypervisor',
    run: async () => {
      if (uri === '') return skip('libvirt_uri is empty: this node backs up images only');
      const virsh = virshOf(service);
      const full = await virsh('-c', uri, ...LIST);
      const mayBeRead = fail(
        `the node may read but not change ${uri}`,
        "Add the node's user to the group libvirt (usermod -aG libvirt USER), name the read-write socket in libvirt_uri, and restart the node.",
      );
      if (full instanceof ToolError) {
        if (full.code === 'tool_missing') return fail('virsh is not on the PATH', 'apt-get install libvirt-clients');
        if (!((await virsh('-r', '-c', uri, ...LIST)) instanceof ToolError)) return mayBeRead;
        return fail(
          `cannot connect to ${uri}: ${full.stderrTail.trim()}`,
          "Start libvirtd (systemctl start libvirtd), correct libvirt_uri, and give the node's user access to it (usermod -aG libvirt USER).",
        );
      }
      const change = await virsh('-c', uri, ...HARMLESS_CHANGE);
      if (change instanceof ToolError && READ_ONLY.test(change.stderrTail)) return mayBeRead;
      const version = await virsh('-c', uri, 'version');
      const versions = [...(version instanceof ToolError ? '' : version.stdout).matchAll(/^(?:Using library|Running hypervisor): (.*)$/gm)].map(
        ([, version]) => version ?? '',
      );
      const count = full.stdout.split('\n').filter((line) => line.trim() !== '').length;
      return pass(`${count} domain(s) at ${uri}, with permission to change them (${versions.join(', ')})`);
    },
  };
}

function virshOf(service: ServiceView): (...argv: readonly string[]) => Promise<ToolOutput | ToolError> {
  return async (...argv) => {
    try {
      return await runTool(service.argv('virsh', ...argv), { deadlineMs: CALL_MS });
    } catch (error) {
      if (error instanceof ToolError) return error;
      throw error;
    }
  };
}
