import { wingOf } from './cruised-imports.js';

const BEGIN = '<!-- wings: written by `npm run draw-wings` -->\n';
const END = '<!-- end of wings -->\n';

/** Which wing imports which, as a Mermaid diagram, without the kernel: all wings import it. */
export function wingsPicture(imports: ReadonlyMap<string, readonly string[]>): string {
  const edges = new Set<string>();
  for (const [file, imported] of imports) {
    const from = wingOf(file);
    for (const each of imported) {
      const to = wingOf(each);
      if (from !== undefined && to !== undefined && from !== to && to !== 'kernel') edges.add(`  ${from} --> ${to}`);
    }
  }
  return ['```mermaid', 'flowchart TD', ...[...edges].sort(), '```', ''].join('\n');
}

/** @returns the page with this picture @throws Error when the page has no place for it */
export function withPicture(page: string, picture: string): string {
  const begin = page.indexOf(BEGIN);
  const end = page.indexOf(END);
  if (begin === -1 || end < begin) throw new Error(`the page lacks the lines ${BEGIN.trim()} and ${END.trim()}`);
  return `${page.slice(0, begin + BEGIN.length)}${picture}${page.slice(end)}`;
}
