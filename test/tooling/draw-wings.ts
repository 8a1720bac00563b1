import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { cruisedImports } from './cruised-imports.js';
import { wingsPicture, withPicture } from './wings-picture.js';

const PROJECT = resolve(import.meta.dirname, '../..');
const PAGE = join(PROJECT, 'docs/architecture.md');

writeFileSync(PAGE, withPicture(readFileSync(PAGE, 'utf8'), wingsPicture(cruisedImports(PROJECT))));
