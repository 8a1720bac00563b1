import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { cruisedImports } from './cruised-imports.js';
import { PROJECT } from './planted-tree.js';
import { wingsPicture, withPicture } from './wings-picture.js';

describe('the picture of the wings', () => {
  it('has each import of one wing by another once, and neither the kernel nor packages', () => {
    const imports = new Map([
      ['src/hub/a.ts', ['src/lib/b.ts', 'src/hub/c.ts', 'node_modules/pg/index.js', 'projections/x/y.ts']],
      ['src/hub/c.ts', ['src/lib/d.ts', 'src/kernel/e.ts']],
    ]);
    expect(wingsPicture(imports)).toBe('```mermaid\nflowchart TD\n  hub --> lib\n  hub --> projections\n```\n');
  });

  it('replaces the picture of a page, and nothing else of it', () => {
    const page = 'a\n<!-- wings: written by `npm run draw-wings` -->\nold\n<!-- end of wings -->\nb\n';
    expect(withPicture(page, 'new\n')).toBe(page.replace('old', 'new'));
    expect(() => withPicture('a\n', 'new\n')).toThrow('the page lacks the lines');
  });

  it('of docs/architecture.md is that of the code; `npm run draw-wings` writes it', () => {
    const page = readFileSync(join(PROJECT, 'docs/architecture.md'), 'utf8');
    expect(page).toBe(withPicture(page, wingsPicture(cruisedImports(PROJECT))));
  }, 120_000);
});
