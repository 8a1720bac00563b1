import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, it } from '@jest/globals';
import { HubConfig } from '../../hub/hub.config.js';
import { LiveConfig, type ReloadReport } from './live-config.js';
import { ConfigError, loadConfig } from './load-config.js';
import { NodeConfig } from '../../node/node.config.js';

const folder = mkdtempSync(join(tmpdir(), 'sendense-live-config-'));
const sources = { file: join(folder, 'config.yaml'), environment: {} };

afterAll(() => {
  rmSync(folder, { recursive: true });
});

function write(text: string): void {
  writeFileSync(sources.file, text);
}

describe('LiveConfig', () => {
  let live: LiveConfig<HubConfig>;

  beforeEach(() => {
    write('mount_slots: 2\nlisten_port: 7001\n');
    live = new LiveConfig(HubConfig, loadConfig(HubConfig, sources));
  });

  it('updates the injected settings, and keeps and reports those that need a restart', () => {
    const { settings } = live;
    expect(settings).toBeInstanceOf(HubConfig);
    const told: ReloadReport[] = [];
    live.onChange((report) => told.push(report));

    write('mount_slots: 3\nlisten_port: 7002\napi_token: sixteen-letters-and-more\n');
    const report = live.reload(sources);
    expect(report).toEqual({ changed: [{ setting: 'mount_slots', from: 2, to: 3 }], needsRestart: ['listen_port', 'api_token'] });
    expect(settings).toMatchObject({ mountSlots: 3, listenPort: 7001, apiToken: null });
    expect(told).toEqual([report]);

    // Settings not in effect are reported again by each reload.
    expect(live.reload(sources)).toEqual({ changed: [], needsRestart: ['listen_port', 'api_token'] });
    expect(told).toHaveLength(1);
  });

  it('applies nothing from an invalid configuration', () => {
    write('mount_slots: 3\nstall_after_seconds: 400\n');
    expect(() => live.reload(sources)).toThrow(ConfigError);
    expect(live.settings).toMatchObject({ mountSlots: 2, stallAfterSeconds: 60 });
    rmSync(sources.file);
    expect(() => live.reload(sources)).toThrow(/cannot be read/);
    expect(live.settings.mountSlots).toBe(2);
  });

  it('keeps values that the program determined itself', () => {
    write('image_roots: [/a]\n');
    const node = new LiveConfig(NodeConfig, loadConfig(NodeConfig, sources), { nodeId: 'found', hubUrl: 'http://tunnel' });
    write('image_roots: [/b]\nhub_url: http://elsewhere\n');
    expect(node.reload(sources)).toEqual({ changed: [{ setting: 'image_roots', from: ['/a'], to: ['/b'] }], needsRestart: ['hub_url'] });
    expect(node.settings.hubUrl).toBe('http://tunnel');
    expect(node.settings).toMatchObject({ nodeId: 'found', imageRoots: ['/b'] });
    expect(Object.fromEntries(Object.entries(node.settings))).toMatchObject({ nodeId: 'found', imageRoots: ['/b'] });
  });

  it.each([new HubConfig(), new NodeConfig()])('reloads settings together when their rules refer to each other', (config) => {
    const reloadable = config.reloadableFields();
    for (const pair of [
      ['nbdPortFirst', 'nbdPortCount'],
      ['stallAfterSeconds', 'failAfterSilentSeconds'],
    ])
      expect([0, 2]).toContain(pair.filter((field) => reloadable.includes(field)).length);
    expect(config.secretFields().filter((field) => reloadable.includes(field))).toEqual([]);
  });
});
