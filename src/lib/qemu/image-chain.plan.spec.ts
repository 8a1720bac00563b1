import { describe, expect, it } from '@jest/globals';
import { type ImageChain, imageFileName, imageNode } from './image-chain.plan.js';

const qcow2 = (filename: string, backing: object | null) => ({ driver: 'qcow2', file: { driver: 'file', filename }, backing });

describe('a chain of files as one disk', () => {
  it('stands on nothing below its first file, whatever the header of that says', () => {
    expect(imageNode(['/r/full.qcow2'])).toEqual(qcow2('/r/full.qcow2', null));
  });

  it('has each file stand on the one before it, so that the last is what a guest sees', () => {
    expect(imageNode(['/r/1.qcow2', '/r/2.qcow2', '/r/3.qcow2'])).toEqual(qcow2('/r/3.qcow2', qcow2('/r/2.qcow2', qcow2('/r/1.qcow2', null))));
  });

  it('names what every file stands on, so that qemu opens none that a header names', () => {
    const text = JSON.stringify(imageNode(['/r/1.qcow2', '/r/2.qcow2']));
    expect(text.match(/"backing":/g)).toHaveLength(2);
  });

  it('is given to the tools of qemu in place of a file name, with names that need no escaping but that of JSON', () => {
    const chain: ImageChain = ['/r/a b: "c",d/1.qcow2'];
    expect(imageFileName(chain)).toBe('json:{"driver":"qcow2","file":{"driver":"file","filename":"/r/a b: \\"c\\",d/1.qcow2"},"backing":null}');
  });

  it('is not empty', () => {
    const none = [] as unknown as ImageChain; // what its type forbids
    expect(() => imageNode(none)).toThrow('at least one file');
  });
});
