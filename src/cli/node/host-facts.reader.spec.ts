import { expect, it } from '@jest/globals';
import { parsedFacts } from './host-facts.reader.js';

it('parses the output of install.sh step check', () => {
  const text = [
    'os=debian 12',
    'machine=x86_64',
    'free_kb=12345',
    'epoch=1795286400',
    'release=0.1.0+abc',
    'releases=0.1.0+abc 0.1.0+def ',
    'node_id=node-1',
    'packages=',
    'problem=systemd is not running on this machine',
    'problem=a=b',
    '',
  ].join('\n');
  expect(parsedFacts(text)).toEqual({
    os: 'debian 12',
    freeKb: 12345,
    epochSeconds: 1795286400,
    release: '0.1.0+abc',
    releases: ['0.1.0+abc', '0.1.0+def'],
    nodeId: 'node-1',
    missingPackages: [],
    problems: ['systemd is not running on this machine', 'a=b'],
  });
});

it('reports an empty host as having no node', () => {
  expect(parsedFacts('release=\nreleases=\nnode_id=\npackages=nbdkit libnbd-bin \n')).toMatchObject({
    release: null,
    releases: [],
    nodeId: null,
    missingPackages: ['nbdkit', 'libnbd-bin'],
    problems: [],
  });
});
