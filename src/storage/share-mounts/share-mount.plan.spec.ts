import { describe, expect, it } from '@jest/globals';
import { parseMountInfo } from '../../lib/files/mount-table.js';
import { failureOf, isMountOf, mountAt, mountAttempts, type MountTarget, type Share, shareProblem, versionOf } from './share-mount.plan.js';

const nfs = { type: 'nfs', server: 'nas.example.org', export: '/export/backups', options: [] } as const satisfies Share;
const cifs = { type: 'cifs', server: 'nas', share: 'backups', options: [], credentials: 'nas' } as const satisfies Share;
const target: MountTarget = { point: '/shares/1', uid: 990, gid: 991, credentialsFile: '/etc/credentials/nas' };
const table = parseMountInfo(
  [
    '36 35 98:0 / / rw - ext4 /dev/vda rw',
    '40 36 0:41 / /shares/1 ro,nosuid - ext4 /dev/vda rw',
    '41 40 0:42 / /shares/1 rw,nosuid,nodev,noexec - nfs4 nas.example.org:/export/backups rw,vers=4.2,hard',
    '42 36 0:43 / /shares/2 rw - cifs //nas/backups/ rw,vers=3.1.1,seal',
    '43 36 0:44 / /shares/with\\040blank rw - nfs [fe80::1]:/export rw,vers=3',
  ].join('\n'),
);

describe('a share', () => {
  it.each<Share>([nfs, cifs, { ...nfs, server: 'fe80::1' }, { ...nfs, export: '/' }, { ...cifs, share: 'backups/hub one', credentials: null }])(
    'is accepted: %j',
    (share) => expect(shareProblem(share)).toBeNull(),
  );

  it.each<[Share, string]>([
    [{ ...nfs, server: '-o' }, 'server'],
    [{ ...nfs, server: 'nas:/x' }, 'server'],
    [{ ...nfs, server: 'nas,rw' }, 'server'],
    [{ ...nfs, server: '' }, 'server'],
    [{ ...nfs, export: 'relative' }, 'export'],
    [{ ...nfs, export: '/a/../b' }, 'export'],
    [{ ...nfs, export: '/a,exec' }, 'export'],
    [{ ...nfs, export: '/a\n/b' }, 'export'],
    [{ ...cifs, share: '/backups' }, 'share'],
    [{ ...cifs, share: 'a/../b' }, 'share'],
    [{ ...cifs, share: 'a,uid=0' }, 'share'],
    [{ ...cifs, credentials: '../shadow' }, 'credentials'],
    [{ ...cifs, credentials: '/etc/shadow' }, 'credentials'],
    [{ ...cifs, credentials: 'a,b' }, 'credentials'],
    [{ ...nfs, options: ['exec'] }, 'options'],
    [{ ...nfs, options: ['suid'] }, 'options'],
    [{ ...nfs, options: ['hard,exec'] }, 'options'],
    [{ ...nfs, options: ['timeo=1,exec'] }, 'options'],
    [{ ...nfs, options: ['hard', 'soft'] }, 'options'],
    [{ ...nfs, options: ['port=1', 'port=2'] }, 'options'],
    [{ ...nfs, options: ['vers=2'] }, 'options'],
    [{ ...nfs, options: ['constructor'] }, 'options'],
    [{ ...cifs, options: ['vers=1.0'] }, 'options'],
    [{ ...cifs, options: ['credentials=/etc/shadow'] }, 'options'],
    [{ ...cifs, options: ['password=secret'] }, 'options'],
    [{ ...cifs, options: ['uid=0'] }, 'options'],
    [{ ...cifs, options: ['mfsymlinks'] }, 'options'],
  ])('is refused: %j for its %s', (share, field) => expect(shareProblem(share)).toMatchObject({ field }));
});

describe('mounting a share', () => {
  it('tries NFS 4.2, then 4.1, then 3, hard unless asked otherwise', () => {
    expect(mountAttempts(nfs, target)).toEqual(
      ['4.2', '4.1', '3'].map((version) => ({
        version,
        argv: [
          'mount',
          '--types',
          'nfs',
          '--options',
          `rw,nosuid,nodev,noexec,vers=${version},retry=0,hard`,
          '--source',
          'nas.example.org:/export/backups',
          '--target',
          '/shares/1',
        ],
      })),
    );
    expect(mountAttempts({ ...nfs, server: 'fe80::1', options: ['softerr', 'vers=3'] }, target).map(({ argv }) => [argv[4], argv[6]])).toEqual([
      ['rw,nosuid,nodev,noexec,vers=3,retry=0,softerr', '[fe80::1]:/export/backups'],
    ]);
  });

  it('tries SMB 3.1.1 down to 3.0 with encryption, and 2.1 only without; the password is not among the arguments', () => {
    const attempts = mountAttempts(cifs, target);
    expect(attempts.map(({ version }) => version)).toEqual(['3.1.1', '3.0.2', '3.0']);
    expect(attempts[0]?.argv).toEqual([
      'mount',
      '--types',
      'cifs',
      '--options',
      'rw,nosuid,nodev,noexec,vers=3.1.1,nobrl,seal,uid=990,gid=991,forceuid,forcegid,file_mode=0644,dir_mode=0755,credentials=/etc/credentials/nas',
      '--source',
      '//nas/backups',
      '--target',
      '/shares/1',
    ]);
    const plain = mountAttempts({ ...cifs, options: ['noseal', 'port=4450'] }, target);
    expect(plain.map(({ version }) => version)).toEqual(['3.1.1', '3.0.2', '3.0', '2.1']);
    for (const { argv } of plain) expect(argv[4]).not.toMatch(/seal/);
    expect(plain[0]?.argv[4]).toMatch(/,port=4450$/);
  });

  it.each<[Share, string, string]>([
    [nfs, 'mount.nfs: Protocol not supported', 'version_unsupported'],
    [nfs, 'mount.nfs: requested NFS version or transport protocol is not supported', 'version_unsupported'],
    [nfs, 'mount.nfs: access denied by server while mounting nas:/export', 'access_denied'],
    [nfs, 'mount.nfs: mounting nas:/export failed, reason given by server: No such file or directory', 'not_exported'],
    [nfs, 'mount.nfs: Connection refused', 'unreachable'],
    [nfs, "mount: /shares/1: unknown filesystem type 'nfs'.", 'client_missing'],
    [cifs, 'mount error(112): Host is down', 'version_unsupported'],
    [cifs, 'mount error(95): Operation not supported', 'version_unsupported'],
    [cifs, 'mount error(13): Permission denied', 'access_denied'],
    [cifs, 'mount error(2): No such file or directory', 'not_exported'],
    [cifs, 'mount error(111): could not connect to 10.0.0.1Unable to find suitable address.', 'unreachable'],
    [cifs, 'mount error(22): Invalid argument', 'failed'],
  ])('explains for %j "%s" as %s', (share, stderr, reason) => expect(failureOf(share, stderr).reason).toBe(reason));

  it('explains error 112 as a likely mismatch of versions', () =>
    expect(failureOf(cifs, 'mount error(112): Host is down').hint).toMatch(/112.*version of SMB/));
});

describe('the mount table', () => {
  it('shows the topmost mount at exactly a path', () => {
    expect(mountAt('/shares/1', table)?.mountId).toBe('41');
    expect(mountAt('/shares/1/below', table)).toBeUndefined();
    expect(mountAt('/shares/with blank', table)?.filesystemType).toBe('nfs');
  });

  it('is compared with type and source of the share', () => {
    const entry = (id: string) => table.filter(({ mountId }) => mountId === id);
    const held = (share: Share, id: string) => entry(id).map((each) => isMountOf(share, each));
    expect(held(nfs, '41')).toEqual([true]);
    expect(held({ ...nfs, server: 'other' }, '41')).toEqual([false]);
    expect(held({ ...nfs, export: '/export' }, '41')).toEqual([false]);
    expect(held(nfs, '40')).toEqual([false]);
    expect(held(cifs, '42')).toEqual([true]);
    expect(held({ ...nfs, server: 'fe80::1', export: '/export' }, '43')).toEqual([true]);
    expect(entry('41').map(versionOf)).toEqual(['4.2']);
    expect(entry('40').map(versionOf)).toEqual([null]);
  });
});
