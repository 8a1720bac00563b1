import { createHmac } from 'node:crypto';
import { expect, it } from '@jest/globals';
import { knownHostKeys } from './known-hosts.js';

const KEY = 'AAAAC3NzaC1lZDI1NTE5AAAAIPq2Lx0bSUkaIm1yOEZQZzGqYcUDmDKnCYDz5Zk5J0Hd';

function hashed(name: string): string {
  const salt = Buffer.from('0123456789abcdef0123');
  return `|1|${salt.toString('base64')}|${createHmac('sha1', salt).update(name).digest('base64')}`;
}

const found = (line: string, host: string, port = 22): number => knownHostKeys(`# a comment\n\n${line}\n`, host, port).length;

it.each([
  ['a name', `node1,10.0.0.7 ssh-ed25519 ${KEY}`, 'node1', 22],
  ['one of several names', `node1,10.0.0.7 ssh-ed25519 ${KEY} comment`, '10.0.0.7', 22],
  ['a name in another case', `Node1 ssh-ed25519 ${KEY}`, 'nODE1', 22],
  ['a name with a port', `[node1]:2222 ssh-ed25519 ${KEY}`, 'node1', 2222],
  ['a pattern', `*.example.org ssh-ed25519 ${KEY}`, 'node1.example.org', 22],
  ['a hashed name', `${hashed('node1')} ssh-ed25519 ${KEY}`, 'node1', 22],
  ['a hashed name with a port', `${hashed('[node1]:2222')} ssh-ed25519 ${KEY}`, 'node1', 2222],
])('finds %s', (_, line, host, port) => {
  expect(found(line, host, port)).toBe(1);
});

it.each([
  ['another host', `node1 ssh-ed25519 ${KEY}`, 'node2', 22],
  ['the beginning of a name', `node1 ssh-ed25519 ${KEY}`, 'node1.example.org', 22],
  ['another port', `node1 ssh-ed25519 ${KEY}`, 'node1', 2222],
  ['a dot as a wildcard', `node1.example ssh-ed25519 ${KEY}`, 'node1xexample', 22],
  ['an excluded host', `*.example.org,!node1.example.org ssh-ed25519 ${KEY}`, 'node1.example.org', 22],
  ['a certificate authority', `@cert-authority node1 ssh-ed25519 ${KEY}`, 'node1', 22],
  ['a truncated line', 'node1 ssh-ed25519', 'node1', 22],
  ['a hash without a digest', `|1|AAAA ssh-ed25519 ${KEY}`, 'node1', 22],
])('does not match %s', (_, line, host, port) => {
  expect(found(line, host, port)).toBe(0);
});

it('marks revoked keys', () => {
  expect(knownHostKeys(`@revoked node1 ssh-ed25519 ${KEY}`, 'node1', 22)).toEqual([{ type: 'ssh-ed25519', blob: Buffer.from(KEY, 'base64'), revoked: true }]);
});
