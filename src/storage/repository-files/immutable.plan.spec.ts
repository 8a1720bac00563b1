import { describe, expect, it } from '@jest/globals';
import { parseAttributes } from '../../lib/files/immutable-attribute.js';
import { immutableOf } from './immutable.plan.js';

const named = (...names: readonly string[]) => names.map((name) => ({ name: name.replace('!', ''), immutable: name.endsWith('!') }));

describe('whether a restore point is immutable', () => {
  it.each([
    ['all', ['manifest.json!', 'manifest.json.sig!', 'disk-0.qcow2!', 'disk-0.qcow2.sha256-4m!']],
    ['all', ['manifest.json!', 'disk-0.qcow2!', 'left by somebody']],
    ['some', ['manifest.json!', 'disk-0.qcow2!', 'disk-0.qcow2.sha256-4m']],
    ['some', ['manifest.json', 'disk-0.qcow2!']],
    ['some', ['manifest.json!']],
    ['none', ['manifest.json', 'disk-0.qcow2', 'another!']],
    ['unknown', []],
  ] as const)('is %s with %j', (verdict, files) => {
    expect(immutableOf(named(...files), ['disk-0.qcow2'])).toBe(verdict);
  });

  it('is read from the output of lsattr, whatever the names in a folder are', () => {
    const listing = [
      '----i---------e------- /srv/backups/a-b/p/manifest.json',
      '--------------e------- /srv/backups/a-b/p/disk i 0.qcow2',
      '--------------e------- /srv/backups/a-b/p/.',
      '----i---------e------- /srv/backups/other/manifest.json',
      'lsattr: Operation not supported While reading flags on /srv/backups/a-b/p/x',
      '----i---------e------- /srv/backups/a-b/p/../q',
    ].join('\n');
    expect(parseAttributes(listing, '/srv/backups/a-b/p')).toEqual([
      { name: 'manifest.json', immutable: true },
      { name: 'disk i 0.qcow2', immutable: false },
    ]);
  });
});
