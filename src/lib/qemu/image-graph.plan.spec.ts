import { describe, expect, it } from '@jest/globals';
import { imageName } from './image-graph.plan.js';

describe('name of an image for qemu', () => {
  it('names driver and file of everything that is opened, and terminates the chain explicitly', () => {
    const base = { path: '/r/a "b", c=d:{e}.raw', format: 'raw', isDevice: false, backing: null } as const;
    const middle = { path: '/dev/vg/lv', format: 'qcow2', isDevice: true, backing: base } as const;
    expect(imageName({ path: '/r/top.qcow2', format: 'qcow2', isDevice: false, backing: middle })).toBe(
      'json:{"driver":"qcow2","file":{"driver":"file","filename":"/r/top.qcow2"},' +
        '"backing":{"driver":"qcow2","file":{"driver":"host_device","filename":"/dev/vg/lv"},' +
        '"backing":{"driver":"raw","file":{"driver":"file","filename":"/r/a \\"b\\", c=d:{e}.raw"}}}}',
    );
    expect(imageName({ path: '/r/top.qcow2', format: 'qcow2', isDevice: false, backing: null })).toBe(
      'json:{"driver":"qcow2","file":{"driver":"file","filename":"/r/top.qcow2"},"backing":null}',
    );
  });
});
