import { readFileSync } from 'node:fs';
import { copyFile, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect } from '@jest/globals';
import { runTool } from '../../src/lib/process/run-tool.js';
import { BootedHost, type HostAnswer, requireBootedHosts } from '../support/booted-host.js';
import { blocksBelow, HostShell } from '../support/host-shell.js';
import { until } from '../support/hub-system.js';

const ROOT = resolve(import.meta.dirname, '../..');
const PAGE = readFileSync(join(ROOT, 'docs/deployment.md'), 'utf8');
const HUB_ADDRESS = '10.231.77.1';
const NODE_ADDRESS = '10.231.77.2';
const PASSWORD = 'sesame-7-sesame';

const { describe, it } = requireBootedHosts(
  'mount.nfs',
  'mount.cifs',
  'tar',
  'gzip',
  'qemu-img',
  'qemu-io',
  'nbdcopy',
  'nbdkit',
  'curl',
  'sudo',
  'script',
  'setpriv',
);

/** The first program of a guest: it says again and again that it is there. */
const GUEST = '#!/bin/busybox sh\n/bin/busybox mount -t devtmpfs dev /dev\nwhile :; do echo "guest login:"; /bin/busybox sleep 1; done\n';
const GUEST_XML =
  '<domain type="qemu"><name>guest1</name><memory unit="MiB">160</memory><vcpu>1</vcpu><os><type arch="x86_64" machine="q35">hvm</type>' +
  '<kernel>/var/lib/libvirt/boot/kernel</kernel><initrd>/var/lib/libvirt/boot/initrd</initrd><cmdline>console=ttyS0 quiet panic=-1</cmdline></os>' +
  '<features><acpi/></features><devices><disk type="file" device="disk"><driver name="qemu" type="qcow2"/><source file="/var/lib/libvirt/images/guest1.qcow2"/>' +
  '<target dev="vda" bus="virtio"/></disk><serial type="pty"/><console type="pty"/></devices></domain>';

/** Command line of what copies a disk across a network, for pgrep. */
const COPY = '^[^ ]*node [^ ]*/main[.]copy[.]js ';
/** In what qemu-img tells of an image. */
const BITMAP = /name: sendense-/;

interface BackupView {
  readonly backup_id: string;
  readonly status: string;
  readonly error: unknown;
}

describe('two bare hosts, by the commands of docs/deployment.md', () => {
  const booted: BootedHost[] = [];
  const shells: Record<string, HostShell> = {};
  let hub: BootedHost;
  let node: BootedHost;
  let fingerprint: string;
  let folder: string;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'sendense-deployment-'));
    // As bin/test has built it.
    await runTool([join(ROOT, 'deployment/make-archive.sh'), folder], { deadlineMs: 300_000, env: { SENDENSE_ARCHIVE_AS_BUILT: 'true' } });
    hub = await BootedHost.boot(`sendense-hub-${process.pid}`);
    booted.push(hub);
    node = await BootedHost.boot(`sendense-node-${process.pid}`);
    booted.push(node);
    await BootedHost.link(hub, HUB_ADDRESS, node, NODE_ADDRESS);
    for (const host of [hub, node]) await host.run(['tee', '-a', '/etc/hosts'], `${HUB_ADDRESS} hub.example.org\n${NODE_ADDRESS} node1.example.org\n`);
    // What stands before the page: an archive that was copied to the hub, and a node that lets somebody in.
    const archive = (await readdir(folder)).find((name) => name.endsWith('.tar.gz')) ?? '';
    await copyFile(join(folder, archive), join(hub.share, archive));
    await hub.run(['cp', `/mnt/share/${archive}`, '/root']);
    await hub.run(['install', '-d', '-m', '0700', '/root/.ssh']);
    await hub.run(['ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-f', '/root/.ssh/id_ed25519']);
    await node.run(['ssh-keygen', '-A']);
    await node.run(['install', '-d', '-m', '0700', '/root/.ssh']);
    await node.run(['tee', '/root/.ssh/authorized_keys'], await hub.run(['cat', '/root/.ssh/id_ed25519.pub']));
    await node.run(['systemctl', 'start', 'ssh']);
    fingerprint = (await node.run(['ssh-keygen', '-lf', '/etc/ssh/ssh_host_ed25519_key.pub'])).split(' ')[1] ?? '';
    shells['hub'] = new HostShell(hub);
    shells['node'] = new HostShell(node);
  }, 600_000);

  afterAll(async () => {
    for (const shell of Object.values(shells)) shell.end();
    await Promise.all(booted.map((host) => host.destroy()));
    await rm(folder, { recursive: true, force: true });
  }, 120_000);

  /** @returns what each block printed */
  async function follow(heading: string): Promise<readonly string[]> {
    const printed: string[] = [];
    for (const { where, text } of blocksBelow(PAGE, heading)) {
      const shell = shells[where];
      if (shell === undefined) throw new Error(`nobody knows where "${where}" is`);
      printed.push(await shell.run(text.replaceAll('SHA256:...', fingerprint)));
    }
    return printed;
  }

  async function api<Body>(method: string, path: string, body?: object): Promise<Body> {
    const token = (await hub.run(['cat', '/var/lib/sendense/api.token'])).trim();
    const request = [
      '-sS',
      '-X',
      method,
      '-H',
      `Authorization: Bearer ${token}`,
      '-H',
      'Content-Type: application/json',
      `http://127.0.0.1:9080/api/v1${path}`,
    ] as const;
    // The caller names the shape it expects; nothing checks it but the expectations that follow.
    const answer = await hub.run(['curl', ...request, ...(body === undefined ? [] : ['-d', JSON.stringify(body)])]);
    return JSON.parse(answer === '' ? 'null' : answer) as Body;
  }

  /** Asks for a backup, again where the node cannot be reached just now. @returns its id */
  async function requestBackup(vmName: string, type: string, more: object = {}): Promise<string> {
    return until(
      `a backup of ${vmName} to be taken on`,
      async () => {
        const [repository] = (await api<{ repositories: { repository_id: string }[] }>('GET', '/repositories')).repositories;
        const answer = await api<BackupView | { detail: string }>('POST', '/backups', {
          vm_name: vmName,
          repository_id: repository?.repository_id,
          backup_type: type,
          ...more,
        });
        if ('backup_id' in answer && !('detail' in answer)) return answer.backup_id;
        throw new Error(JSON.stringify(answer));
      },
      240_000,
    );
  }

  /** @returns the backup once it has ended */
  async function backUp(vmName: string, type: string): Promise<BackupView> {
    const backup_id = await requestBackup(vmName, type);
    return until(
      `the backup of ${vmName} to end`,
      async () => {
        const backup = await api<BackupView>('GET', `/backups/${backup_id}`);
        return ['completed', 'failed', 'cancelled'].includes(backup.status) ? backup : null;
      },
      240_000,
    );
  }

  async function filesOf(host: BootedHost): Promise<readonly string[]> {
    const places = ['/opt', '/etc', '/usr/local', '/var/lib', '/root', '/home', '/run', '/tmp', '/var/tmp'];
    const found = (await host.run(['find', ...places, '-xdev', '-name', '*sendense*', '-prune', '-print'])).split('\n');
    // This checkout may be in one of these places.
    return found.filter((path) => path !== '' && path !== ROOT && !path.startsWith(`${ROOT}/`));
  }

  /** Processes and folders of mounts on the hub. */
  async function leftOfMounts(): Promise<readonly string[]> {
    const processes = await hub.try(['pgrep', '-a', '-x', 'guestfish|qemu-system-.*|fusermount3']);
    const folders = await hub.try(['find', '/var/lib/sendense/run/mounts', '-mindepth', '1']);
    return [...processes.stdout.split('\n'), ...folders.stdout.split('\n')].filter(Boolean);
  }

  it('become hub and node', async () => {
    const [, services] = await follow('2. The hub');
    expect(services).toContain('active\nactive\n');
    // Somebody else's machine in the node's place would show another key.
    const stranger = await hub.try(['sendense', 'node', 'deploy', 'root@node1.example.org', '--name', 'node1']);
    expect(stranger).toMatchObject({ exitCode: 1, stderr: expect.stringContaining('the key of node1.example.org is unknown') });
    const wrong = await hub.try(['sendense', 'node', 'deploy', 'root@node1.example.org', '--host-key-fingerprint', `SHA256:${'A'.repeat(43)}`]);
    expect(wrong).toMatchObject({ exitCode: 1, stderr: expect.stringContaining(`presents the key ${fingerprint} instead of`) });
    // known_hosts has another key for it.
    await hub.run(['tee', '/root/.ssh/known_hosts'], `node1.example.org ${(await hub.run(['cat', '/root/.ssh/id_ed25519.pub'])).trim()}\n`);
    const changed = await hub.try(['sendense', 'node', 'deploy', 'root@node1.example.org', '--name', 'node1']);
    expect(changed).toMatchObject({ exitCode: 1, stderr: expect.stringContaining('known_hosts has a different one') });
    expect(await filesOf(node)).toEqual([]);

    const [shown, deployed] = await follow('3. The node');
    expect(shown).toContain(fingerprint);
    expect(deployed).toMatch(/Node node1 \(\S+\) on node1\.example\.org runs release \S+, and its tunnel is up/);
    // Without what only a hub needs.
    expect((await node.run(['ls', '/opt/sendense/current/dist/src', '/opt/sendense/current/node_modules'])).split(/\s+/)).not.toContain('hub');
    expect((await hub.run(['ls', '/opt/sendense/current/dist/src'])).split(/\s+/)).toContain('hub');
    expect((await node.run(['systemctl', 'is-active', 'sendense-node', 'sendense-tunnel'])).trim()).toBe('active\nactive');
  }, 600_000);

  it('keep the account that faces the network from changing who may connect', async () => {
    const keys = '/var/lib/sendense-tunnel/authorized_keys';
    const before = await hub.run(['cat', keys]);
    const asTunnel = ['setpriv', '--reuid=sendense-tunnel', '--regid=sendense-tunnel', '--init-groups'] as const;
    for (const argv of [
      ['rm', '-f', keys],
      ['mv', '-f', '/var/lib/sendense-tunnel/server.json', keys],
      ['tee', '-a', keys],
    ] as const) {
      expect(await hub.try([...asTunnel, ...argv], 'ssh-ed25519 AAAA stranger')).toMatchObject({
        exitCode: 1,
        stderr: expect.stringMatching(/not permitted|denied/),
      });
    }
    expect(await hub.run(['cat', keys])).toBe(before);
  });

  it('make a first backup over the tunnel', async () => {
    const printed = await follow('4. The first backup');
    expect(printed.at(-1)).toContain('"status":"completed"');
    const [seen = ''] = (await hub.run(['find', '/var/lib/sendense/repositories/first', '-name', '*.qcow2'])).trim().split('\n');
    // What was written on the node's disk is what lies in the hub's repository.
    expect(await hub.run(['qemu-io', '-r', '-c', 'read -P 7 0 64M', seen])).toContain('read 67108864/67108864');
  }, 300_000);

  it('use other places once they are allowed, and publish a disk to write to', async () => {
    const refused = await api<{ code: string; detail: string }>('POST', '/repositories', { name: 'second', type: 'local', path: '/opt' });
    expect(refused).toMatchObject({ code: 'repository_not_writable', detail: expect.stringContaining('install.sh allow hub') });
    await follow('Other places for repositories, restores and disks');
    const [backup] = (await api<{ backups: BackupView[] }>('GET', '/backups?vm_name=web1&status=completed&limit=1')).backups;
    await hub.run(['install', '-d', '-o', 'sendense', '/srv/backups-restored']);
    const restore = { backup_id: backup?.backup_id, target_path: '/srv/backups-restored', format: 'raw' };
    expect(await api('POST', '/restore/disks', restore)).toMatchObject({ code: 'target_not_writable' });
    await hub.run(['/opt/sendense/current/deployment/install/install.sh', 'allow', 'hub', '/srv/backups-restored']);
    const { job_id } = await api<{ job_id: string }>('POST', '/restore/disks', restore);
    await until('the restore', async () => (await api<{ status: string }>('GET', `/restore/jobs/${job_id}`)).status === 'completed', 120_000);
    expect(await hub.run(['qemu-io', '-r', '-f', 'raw', '-c', 'read -P 7 0 64M', '/srv/backups-restored/web1-disk0.raw'])).toContain('read 67108864/67108864');
    const published = await api<{ export_id: string; uri: string }>('POST', '/restore/exports', {
      backup_id: backup?.backup_id,
      disk_index: 0,
      mode: 'read_write',
    });
    const { psk_file } = await api<{ psk_file: string }>('GET', `/restore/exports/${published.export_id}/key`);
    await hub.run(['install', '-d', '-m', '0700', '/root/export']);
    await hub.run(['tee', '/root/export/keys.psk'], psk_file);
    const [, server = '', port = '', name = ''] = /^nbds:\/\/sendense@([^:/]+):(\d+)\/(.+)$/.exec(published.uri) ?? [];
    const disk = `driver=nbd,server.type=inet,server.host=${server},server.port=${port},export=${name},tls-creds=key`;
    const key = 'tls-creds-psk,id=key,endpoint=client,username=sendense,dir=/root/export';
    await hub.run(['qemu-io', '--object', key, '--image-opts', '-c', 'write -P 9 0 64k', '-c', 'read -P 7 64k 64k', disk]);
    await api('DELETE', `/restore/exports/${published.export_id}`);
    await hub.run(['rm', '-r', '/srv/backups-restored']);
  }, 300_000);

  it('get a mount helper whose mounts reach the hub, while the hub itself may not mount', async () => {
    await follow('6. Repositories on NFS and CIFS');
    expect((await hub.run(['systemctl', 'is-active', 'sendense-mounts', 'sendense-hub'])).trim()).toBe('active\nactive');
    // The kernel or the server is missing here; the helper has tried, and says so.
    const test = await api('POST', '/repositories/test', { type: 'nfs', server: HUB_ADDRESS, export: '/backups' });
    expect(test).toMatchObject({
      ok: false,
      checks: [{ name: 'mounted', ok: false, detail: expect.stringContaining(`${HUB_ADDRESS}:/backups cannot be mounted`) }],
    });
    await until('the mount point to be removed', async () => (await hub.run(['ls', '-A', '/var/lib/sendense-mounts'])) === '');
    const other = [
      'setpriv',
      '--reuid=sendense-tunnel',
      '--regid=sendense-tunnel',
      '--clear-groups',
      'test',
      '-w',
      '/run/sendense-mounts/helper.sock',
    ] as const;
    expect(await hub.try(other)).toMatchObject({ exitCode: 1 });

    // A tmpfs stands in for a share, which needs a server and a kernel that has NFS.
    const point = '/var/lib/sendense-mounts/by-hand';
    await hub.run(['mkdir', point]);
    const helper = (await hub.run(['systemctl', 'show', '-P', 'MainPID', 'sendense-mounts'])).trim();
    await hub.run(['nsenter', '-t', helper, '-m', 'mount', '-t', 'tmpfs', '-o', 'nosuid,nodev,noexec,mode=0777', 'share', point]);
    expect(await api('POST', '/repositories/test', { type: 'local', path: point, require_mount: true })).toMatchObject({ ok: true });
    await hub.run(['systemctl', 'restart', 'sendense-mounts']);
    expect(await hub.run(['findmnt', '--noheadings', '--output', 'FSTYPE', point])).toBe('tmpfs\n');
  }, 300_000);

  it('go on with a running transfer when hub, node and both ends of the tunnel are restarted', async () => {
    const [repository] = (await api<{ repositories: { repository_id: string }[] }>('GET', '/repositories')).repositories;
    const started = await api<BackupView>('POST', '/backups', {
      vm_name: 'web1',
      repository_id: repository?.repository_id,
      backup_type: 'full',
      bandwidth_limit_bps: 6 * 1024 * 1024,
    });
    const copying = (): Promise<readonly string[]> => node.run(['pgrep', '-f', COPY]).then((text) => text.trim().split('\n'));
    const before = await until('the copy', copying);
    await hub.run(['systemctl', 'restart', 'sendense-hub']);
    await node.run(['systemctl', 'restart', 'sendense-node']);
    expect(await copying()).toEqual(before);
    // All connections are cut, and come back.
    await hub.run(['systemctl', 'restart', 'sendense-tunnel-server']);
    await node.run(['systemctl', 'restart', 'sendense-tunnel']);
    const ended = await until(
      'the backup to end',
      async () => {
        const backup = await api<BackupView>('GET', `/backups/${started.backup_id}`);
        return ['completed', 'failed', 'cancelled'].includes(backup.status) ? backup : null;
      },
      240_000,
    );
    expect(ended).toMatchObject({ status: 'completed', error: null });
  }, 400_000);

  it('are deployed again without anything being done twice', async () => {
    const pids = (): Promise<string> => node.run(['systemctl', 'show', '-P', 'MainPID', 'sendense-node', 'sendense-tunnel']);
    // Settings written in the second of a service's start count as newer than it.
    await node.run(['touch', '-d', '1 minute ago', '/etc/sendense/node/node.yaml', '/var/lib/sendense-node/tunnel/tunnel.json']);
    const before = await pids();
    // Without a fingerprint this time: by known_hosts, with the host's name hashed.
    await hub.run(['tee', '/root/.ssh/known_hosts'], await hub.run(['ssh-keyscan', '-H', '-t', 'ecdsa', 'node1.example.org']));
    const { exitCode, stderr, stdout } = await hub.try(['sendense', 'node', 'deploy', 'root@node1.example.org']);
    expect({ exitCode, stdout }).toMatchObject({ exitCode: 0, stdout: expect.stringContaining('its tunnel is up') });
    expect(stderr).toMatch(/copy the release .* is there\n/);
    expect(stderr).toMatch(/pair it with the hub .* is paired as node1\n/);
    expect(await pids()).toBe(before);
  }, 200_000);

  it('back up a running guest of libvirt, restore it as a VM, and see it boot', async () => {
    await node.run(['systemctl', 'start', 'libvirtd']);
    const again = await hub.try(['sendense', 'node', 'deploy', 'root@node1.example.org', '--host-key-fingerprint', fingerprint]);
    expect(again).toMatchObject({ exitCode: 0, stdout: expect.stringContaining('its tunnel is up') });
    const kit = '/var/lib/libvirt/boot';
    await node.run(['mkdir', '-p', kit, '/root/kit/bin', '/root/kit/dev']);
    await node.run(['bash', '-c', `cp /boot/vmlinuz-* ${kit}/kernel && cp "$(command -v busybox)" /root/kit/bin/busybox`]);
    await node.run(['tee', '/root/kit/init'], GUEST);
    await node.run(['chmod', '755', '/root/kit/init']);
    await node.run(['bash', '-c', `cd /root/kit && find . | cpio -o -H newc --quiet >${kit}/initrd`]);
    await node.run(['qemu-img', 'create', '-q', '-f', 'qcow2', '/var/lib/libvirt/images/guest1.qcow2', '64M']);
    await node.run(['chmod', '600', '/var/lib/libvirt/images/guest1.qcow2']);
    await node.run(['tee', '/root/guest1.xml'], GUEST_XML);
    await node.run(['virsh', '-q', 'define', '/root/guest1.xml']);
    await node.run(['virsh', '-q', 'start', 'guest1']);
    const write = (pattern: number, mib: number): Promise<string> =>
      node.run([
        'virsh',
        '-q',
        'qemu-monitor-command',
        'guest1',
        '--hmp',
        `qemu-io -d /machine/peripheral/virtio-disk0/virtio-backend "write -P ${pattern} ${mib}M 1M"`,
      ]);

    const [own] = (await api<{ nodes: { node_id: string; name: string }[] }>('GET', '/nodes')).nodes.filter(({ name }) => name === 'node1');
    const uuid = (await node.run(['virsh', '-q', 'domuuid', 'guest1'])).trim();
    await api('POST', '/vms', { name: 'guest1', source: 'libvirt', source_ref: uuid, node_id: own?.node_id });
    await write(3, 1);
    expect(await backUp('guest1', 'full')).toMatchObject({ status: 'completed', error: null });
    await write(4, 2);
    const incremental = await backUp('guest1', 'incremental');
    expect(incremental).toMatchObject({ status: 'completed', error: null, bytes_transferred: 1024 * 1024 });

    const vm = { backup_id: incremental.backup_id, name: 'guest1-restored', storage_path: '/var/lib/libvirt/images' };
    const { job_id } = await api<{ job_id: string }>('POST', '/restore/vms', vm);
    await until('the VM', async () => (await api<{ status: string }>('GET', `/restore/jobs/${job_id}`)).status === 'completed', 240_000);
    const read = ['qemu-io', '-r', '-c', 'read -P 3 1M 1M', '-c', 'read -P 4 2M 1M', '/var/lib/libvirt/images/guest1-restored-disk0.qcow2'] as const;
    expect(await node.run(read)).not.toContain('verification failed');

    const boot = { boot: true, boot_check: { console_text: 'guest login:', timeout_seconds: 280 } };
    const verification = await api<{ verification_id: string }>('POST', `/backups/${incremental.backup_id}/verify`, boot);
    const verdict = await until(
      'the guest to boot',
      async () => {
        const { verifications } = await api<{ verifications: { verification_id: string; status: string }[] }>(
          'GET',
          `/backups/${incremental.backup_id}/verifications`,
        );
        return verifications.find(({ verification_id, status }) => verification_id === verification.verification_id && status !== 'running') ?? null;
      },
      300_000,
    );
    expect(verdict).toMatchObject({ status: 'passed', boot: { status: 'booted', sign: 'console_text' } });
    expect((await node.run(['virsh', '-q', 'list', '--all', '--name'])).trim().split('\n').sort()).toEqual(['guest1', 'guest1-restored']);
    expect(await node.run(['find', '/var/lib/sendense-scratch', '/var/lib/sendense-node/boot-checks', '-mindepth', '1'])).toBe('');
  }, 900_000);

  it('lose their power in the middle of backups, and go on by themselves', async () => {
    const connect = (): Promise<void> => BootedHost.link(hub, HUB_ADDRESS, node, NODE_ADDRESS);
    for (const host of [node, hub]) {
      const backup_id = await requestBackup('web1', 'full', { bandwidth_limit_bps: 1024 * 1024 });
      await until('the copy', async () => (await node.try(['pgrep', '-f', COPY])).exitCode === 0, 240_000);
      await host.powerCycle();
      await connect();
      // What was there before the page: somebody lets the operator in.
      await node.run(['systemctl', 'start', 'ssh']);
      shells[host === hub ? 'hub' : 'node']?.end();
      shells[host === hub ? 'hub' : 'node'] = new HostShell(host);
      const ended = await until(
        'the backup to end',
        async () => {
          // Until the hub is there again nobody answers.
          const backup = await api<BackupView>('GET', `/backups/${backup_id}`).catch(() => null);
          return backup !== null && ['completed', 'failed'].includes(backup.status) ? backup : null;
        },
        400_000,
      );
      expect(ended).toMatchObject({ status: 'failed', error: { code: expect.any(String) } });
      process.stdout.write(`${host.name} lost its power: ${JSON.stringify(ended.error)}\n`);
      await until('the tunnel', async () => {
        const { nodes } = await api<{ nodes: { name: string; state: string; tunnel: { state: string } | null }[] }>('GET', '/nodes');
        return nodes.some(({ name, state, tunnel }) => name === 'node1' && state === 'reachable' && tunnel?.state === 'up');
      });
      expect(await backUp('web1', 'auto')).toMatchObject({ status: 'completed', error: null });
      await until('nothing to be left of it', async () => {
        const processes = await Promise.all([hub, node].map((each) => each.try(['pgrep', '-f', `${COPY}|^(nbdcopy|qemu-nbd|qemu-storage-daemon) `])));
        const partial = await hub.run(['find', '/var/lib/sendense/repositories/first', '-name', '.partial-*']);
        const { ports } = await api<{ ports: { state: string }[] }>('GET', '/nbd/ports?state=allocated');
        return processes.every(({ exitCode }) => exitCode === 1) && partial === '' && ports.length === 0;
      });
    }
  }, 900_000);

  it('restore a single file, with its owner, through a hub that was given the right to mount', async () => {
    const [refused] = await Promise.all([hub.try(['systemctl', 'cat', 'sendense-hub'])]);
    expect(refused.stdout).not.toContain('CAP_SYS_ADMIN');
    await follow('5. Single files of a backup');
    const image = '/var/lib/sendense-images/files1';
    await node.run(['mkdir', '-p', image, '/root/tree/home/bob']);
    await node.run(['tee', '/root/tree/home/bob/letter'], 'dear all\n');
    await node.run(['chmod', '0600', '/root/tree/home/bob/letter']);
    await node.run(['chown', '-R', '1234:1234', '/root/tree/home/bob']);
    await node.run(['truncate', '-s', '64M', '/root/files1.raw']);
    await node.run(['mkfs.ext4', '-q', '-d', '/root/tree', '/root/files1.raw']);
    await node.run(['qemu-img', 'convert', '-O', 'qcow2', '/root/files1.raw', `${image}/disk0.qcow2`]);
    const [repository] = (await api<{ repositories: { repository_id: string }[] }>('GET', '/repositories')).repositories;
    const own = (await api<{ nodes: { node_id: string; name: string }[] }>('GET', '/nodes')).nodes.find(({ name }) => name === 'node1');
    await api('POST', '/vms', { name: 'files1', source: 'image', source_ref: image, node_id: own?.node_id });
    const { backup_id } = await api<BackupView>('POST', '/backups', { vm_name: 'files1', repository_id: repository?.repository_id, backup_type: 'full' });
    await until('the backup', async () => (await api<BackupView>('GET', `/backups/${backup_id}`)).status === 'completed', 240_000);

    const mount = (): Promise<{ mount_id: string; driver: string; status: string }> => api('POST', '/restore/mount', { backup_id, disk_index: 0 });
    const mounted = await mount();
    expect(mounted).toMatchObject({ status: 'mounted', driver: 'guestfs' });
    const listed = await api('GET', `/restore/${mounted.mount_id}/files?path=/home/bob`);
    expect(listed).toMatchObject({ files: [{ name: 'letter', mode: '0600', uid: 1234, gid: 1234, size: 9 }] });
    const token = (await hub.run(['cat', '/var/lib/sendense/api.token'])).trim();
    const download = `http://127.0.0.1:9080/api/v1/restore/${mounted.mount_id}/download?path=/home/bob/letter`;
    expect(await hub.run(['curl', '-sSf', '-H', `Authorization: Bearer ${token}`, download])).toBe('dear all\n');
    await api('DELETE', `/restore/${mounted.mount_id}`);
    expect(await leftOfMounts()).toEqual([]);

    // The mount was the old process's; the next one takes away what is left of it.
    await mount();
    await hub.run(['systemctl', 'restart', 'sendense-hub']);
    await until('nothing to be left of the mount', async () => (await leftOfMounts()).length === 0, 120_000);
    await node.run(['rm', '-r', image, '/root/tree', '/root/files1.raw']);
  }, 900_000);

  it('are upgraded, and run again what ran before where the new release does not come up', async () => {
    const deploy = (archive: string): Promise<HostAnswer> =>
      hub.try(['sendense', 'node', 'deploy', 'root@node1.example.org', '--host-key-fingerprint', fingerprint, '--archive', archive]);
    const running = async (): Promise<string> => (await node.run(['cat', '/opt/sendense/current/RELEASE'])).trim();
    const first = await running();
    await hub.run(['cp', '-a', `/opt/sendense/${first}`, '/root/sendense']);
    const pack = async (name: string): Promise<string> => {
      await hub.run(['tee', '/root/sendense/RELEASE'], `${name}\n`);
      await hub.run(['tar', '-C', '/root', '--use-compress-program=gzip -1', '-cf', `/root/${name}.tar.gz`, 'sendense']);
      return `/root/${name}.tar.gz`;
    };
    const better = await deploy(await pack('0.2.0'));
    expect(better).toMatchObject({ exitCode: 0, stdout: expect.stringContaining(`runs release 0.2.0 instead of ${first}, and its tunnel is up`) });
    await hub.run(['tee', '/root/sendense/dist/src/node/main.node.js'], 'process.exit(2);\n');
    const broken = await deploy(await pack('0.3.0'));
    expect(broken).toMatchObject({ exitCode: 1, stderr: expect.stringContaining('The previous release, 0.2.0, is running on node1.example.org again.') });
    expect(broken.stderr).toContain('its services are failed (node)');
    expect(await running()).toBe('0.2.0');
    const [own] = (await api<{ nodes: { node_id: string; name: string }[] }>('GET', '/nodes')).nodes.filter(({ name }) => name === 'node1');
    await until('the old release to answer', async () => (await api<{ vms?: object[] }>('POST', `/nodes/${own?.node_id ?? ''}/discover`)).vms !== undefined);
    for (const path of ['/root/sendense', '/root/0.2.0.tar.gz', '/root/0.3.0.tar.gz']) await hub.run(['rm', '-r', path]);
  }, 900_000);

  it('have a guest that runs and one that is off, with checkpoints of backups', async () => {
    await node.run(['systemctl', 'start', 'libvirtd']);
    await node.run(['virsh', '-q', 'start', 'guest1']);
    expect(await backUp('guest1', 'auto')).toMatchObject({ status: 'completed', error: null });
    await node.run(['virsh', '-q', 'start', 'guest1-restored']);
    await node.run(['virsh', '-q', 'checkpoint-create-as', 'guest1-restored', 'sendense-left']);
    await node.run(['virsh', '-q', 'destroy', 'guest1-restored']);
    expect(await node.run(['virsh', '-q', 'checkpoint-list', 'guest1', '--name'])).toContain('sendense-');
  }, 400_000);

  it('are left as they were before, by a user who types passwords', async () => {
    await node.run(['useradd', '--create-home', '--shell', '/bin/bash', 'ops']);
    await node.run(['chpasswd'], `ops:${PASSWORD}\n`);
    await node.run(['tee', '/etc/sudoers.d/ops'], 'ops ALL=(ALL) ALL\n');
    await node.run(['chmod', '0440', '/etc/sudoers.d/ops']);
    await hub.run(['rm', '/root/.ssh/id_ed25519']);
    const [removal] = blocksBelow(PAGE, 'Take it away');
    const command = (removal?.text ?? '').trim().replace('root@', 'ops@').replace('SHA256:...', fingerprint);
    const seen = await typedAt(hub, command, /assword[^:]*: $/, PASSWORD);
    expect(seen).toContain('Nothing of Sendense is left on node1.example.org');
    expect(seen).toContain('Password for sudo');
    expect(seen).not.toContain(PASSWORD);
    await node.run(['userdel', '--remove', 'ops']);
    await node.run(['rm', '/etc/sudoers.d/ops']);
    // The image is the user's, and was named as what stays.
    expect(await filesOf(node)).toEqual(['/var/lib/sendense-images']);
    expect(await node.run(['qemu-img', 'info', '/var/lib/sendense-images/web1/disk0.qcow2'])).not.toMatch(BITMAP);
    expect((await node.try(['pgrep', '-fa', 'sendense'])).stdout).toBe('');
    expect((await node.try(['getent', 'passwd', 'sendense-node'])).exitCode).not.toBe(0);

    const [, last] = blocksBelow(PAGE, 'Take it away');
    await shells['hub']?.run(last?.text ?? 'false');
    expect((await hub.try(['pgrep', '-fa', '/opt/sendense'])).stdout).toBe('');
    expect((await filesOf(hub)).filter((path) => !path.startsWith('/root/sendense-'))).toEqual([]);
  }, 300_000);

  it('leave their guests as they were', async () => {
    for (const guest of ['guest1', 'guest1-restored']) expect((await node.run(['virsh', '-q', 'checkpoint-list', guest, '--name'])).trim()).toBe('');
    expect((await node.run(['virsh', '-q', 'domstate', 'guest1'])).trim()).toBe('running');
    expect(await node.run(['qemu-img', 'info', '/var/lib/libvirt/images/guest1-restored-disk0.qcow2'])).not.toMatch(BITMAP);
    await node.run(['virsh', '-q', 'destroy', 'guest1']);
    expect(await node.run(['qemu-img', 'info', '/var/lib/libvirt/images/guest1.qcow2'])).not.toMatch(BITMAP);
  }, 200_000);
});

/** Runs a command on a terminal of its own, and types the answer whenever it asks. @returns all that the terminal has shown */
async function typedAt(host: BootedHost, command: string, question: RegExp, answer: string): Promise<string> {
  const terminal = host.spawn(['script', '-qec', command, '/dev/null']);
  let seen = '';
  let answered = 0;
  for (const stream of [terminal.stdout, terminal.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      seen += text;
      if (!question.test(seen.slice(answered))) return;
      answered = seen.length;
      terminal.stdin.write(`${answer}\n`);
    });
  }
  await until('the command to end', () => Promise.resolve(terminal.exitCode !== null), 200_000);
  return seen;
}
